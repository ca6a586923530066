"""Checkpoint to image: digest the layers, describe them, and write what describes them. No weight byte is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from modelcar.checkpoint import Checkpoint
from modelcar.layers.bytemap import ByteMap, Literal
from modelcar.layers.hashing import hash_layer
from modelcar.layers.index import INDEX_PATH, IndexedLayer, ModelIndex
from modelcar.layers.tar import Entry, build_tar
from modelcar.oci import Descriptor, Platform, media_types
from modelcar.packaging.annotations import LAYER
from modelcar.packaging.arriving import Bringer
from modelcar.packaging.base import Base
from modelcar.packaging.departures import Departures
from modelcar.packaging.digests import digest_layers
from modelcar.packaging.manifests import Described, Documents, describe_image
from modelcar.packaging.model_base import ModelBase, ModelBaseLayer
from modelcar.packaging.outline import Outline, outline_image
from modelcar.packaging.packed import PackedLayer
from modelcar.packaging.passing import Passing
from modelcar.packaging.plan import DEFAULT_MAX_LAYERS, MODEL_ROOT, LayerKind, Packing, PlannedLayer
from modelcar.packaging.soci import write_soci_index
from modelcar.packaging.streams import Begin
from modelcar.progress import SILENT, Progress
from modelcar.store import LocalStore, write_document

__all__ = ["BuiltImage", "BuiltLayer", "build_image"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltLayer:
    """A layer that is in the store now. `planned` is absent for the index and for what the base brought."""

    descriptor: Descriptor
    kind: LayerKind | None
    label: str
    planned: PlannedLayer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltImage:
    """What `build_image` made: the index that ties everything together, the ModelPack twin, and the layers."""

    index: Descriptor
    modelpack: Descriptor
    platforms: tuple[Platform, ...]
    layers: tuple[BuiltLayer, ...]
    model_size: int


def build_image(
    checkpoint: Checkpoint,
    store: LocalStore,
    bases: Sequence[Base],
    *,
    max_layers: int = DEFAULT_MAX_LAYERS,
    packing: Packing = Packing.TAR,
    content_digests: bool = False,
    workers: int | None = None,
    progress: Progress = SILENT,
    upload: Callable[[Descriptor, ByteMap], None] | None = None,
    passing: Passing | None = None,
    arrived: Callable[[PlannedLayer], None] = lambda _: None,
    expected: Callable[[Outline], None] = lambda _: None,
    streaming: Begin | None = None,
    annotations: Mapping[str, str] | None = None,
    beneath: ModelBase | None = None,
    folder: str = "",
) -> BuiltImage:
    """Build one image for each base over the same model layers, and the ModelPack twin, under one index.

    The caller holds `store.session()` until it has named the result. `upload` is given every model layer as soon as its
    digest is known, from any thread, so that it can be on its way while the others are still hashed.

    Args:
        passing: for layers that are to go through this machine without staying; in the store nothing is left of them.
        arrived: is told of every layer, its files where they are to stay, before `upload` or a stream has its digest.
        expected: is told what will be built, before any weight is read.
        streaming: sends layers while they are hashed; those that it takes are not given to `upload`.
        annotations: of the image, besides those that its files give; an empty one takes theirs away.
        beneath: another image's model, whose layers come first. They are taken as they are described, and no byte of
            them is read, stored or sent.
        folder: where in the model the checkpoint's files go; at its top by default.

    Raises:
        UsageError: a file of the checkpoint has the place of one beneath, or it is packed in another way.
        SourceError: the checkpoint cannot be packaged.
        SourceChanged: a file changed while it was hashed.
        DigestMismatch: a file is not what the Hub says that it is.
        WorldError: a file cannot be brought.
    """
    checkpoint.headers()  # what is wrong with them is said before a weight is read
    outline = outline_image(
        checkpoint,
        bases,
        max_layers=max_layers,
        packing=packing,
        annotations=annotations,
        beneath=beneath,
        folder=folder,
    )
    expected(outline)
    leaving = Departures(upload=upload, passing=passing, streaming=streaming)
    layers = digest_layers(
        outline.layers,
        store.memo,
        content_digests=content_digests,
        workers=leaving.workers(workers),
        progress=progress,
        bring=_bringer(checkpoint, passing),
        begin=leaving.begin,
        arrived=arrived,
        digested=leaving.digested,
        abandoned=leaving.abandoned,
    )
    _keep(store, layers, passing)
    return _put_together(checkpoint, store, bases, outline, layers, packing=packing, beneath=beneath)


def _put_together(
    checkpoint: Checkpoint,
    store: LocalStore,
    bases: Sequence[Base],
    outline: Outline,
    layers: Sequence[PackedLayer],
    *,
    packing: Packing,
    beneath: ModelBase | None,
) -> BuiltImage:
    """The documents over what the layers came to be, and all of it in the store."""
    headers = checkpoint.headers()
    indexed = [*(layer.indexed for layer in outline.below), *(layer.indexed(headers) for layer in layers)]
    index_layer = _write_index_layer(store, indexed)
    described = [(layer, layer.describe(index_layer.digest)) for layer in layers]
    documents = describe_image(
        [Described(planned=p.planned, diff_id=p.digests.digest, descriptor=d) for p, d in described],
        index_layer,
        bases=bases,
        facts=checkpoint.facts(),
        annotations=outline.annotations,
        beneath=beneath,
        soci=write_soci_index(store.content, described) if packing is Packing.SOCI else None,
    )
    _write(store, documents, bases)
    return BuiltImage(
        index=documents.index.descriptor,
        modelpack=documents.twin_entry.plain(),
        platforms=tuple(base.config.platform for base in bases),
        layers=tuple(_built_layers(outline.below, described, index_layer, bases)),
        model_size=sum(f.size for f in checkpoint.files) + (beneath.size if beneath is not None else 0),
    )


def _write(store: LocalStore, documents: Documents, bases: Sequence[Base]) -> None:
    """What describes the layers, and the bases' own; the index last."""
    for base in bases:
        for digest, content in base.blobs.items():
            store.content.materialise(digest, content)
    for config, manifest in documents.images:
        write_document(store.content, config.content, config.digest)
        write_document(store.content, manifest.content, manifest.digest)
    write_document(store.content, documents.twin_config, documents.twin.config.digest)
    write_document(store.content, documents.twin.content, documents.twin.digest)
    write_document(store.content, documents.index.content, documents.index.digest)


def _bringer(checkpoint: Checkpoint, passing: Passing | None) -> Bringer | None:
    if checkpoint.remote is None:
        return None
    return Bringer(checkpoint.remote, passing.has) if passing is not None else Bringer(checkpoint.remote)


def _keep(store: LocalStore, layers: Sequence[PackedLayer], passing: Passing | None) -> None:
    for layer in layers:
        if passing is not None:
            passing.keep(store.content, layer)
        else:
            store.content.add_recipe(layer.digests.blob, layer.content)


def _write_index_layer(store: LocalStore, layers: Sequence[IndexedLayer]) -> Descriptor:
    index = ModelIndex(root=f"/{MODEL_ROOT}", layers=tuple(layers))
    tar = build_tar([Entry(path=INDEX_PATH, content=Literal(index.to_json()))])
    digest = hash_layer(tar).digest
    store.content.materialise(digest, tar.content)
    return Descriptor(
        media_type=media_types.LAYER_TAR,
        digest=digest,
        size=tar.content.size,
        annotations={LAYER: LayerKind.INDEX},
    )


def _built_layers(
    below: Sequence[ModelBaseLayer],
    layers: Sequence[tuple[PackedLayer, Descriptor]],
    index_layer: Descriptor,
    bases: Sequence[Base],
) -> list[BuiltLayer]:
    result = [
        BuiltLayer(descriptor=layer.describe(index_layer.digest), kind=layer.kind, label=layer.label) for layer in below
    ]
    result += [_built(layer.planned, descriptor) for layer, descriptor in layers]
    result.append(BuiltLayer(descriptor=index_layer, kind=LayerKind.INDEX, label="model index"))
    for base in bases:
        for descriptor in base.layers:
            own = descriptor.annotations.get(LAYER) == LayerKind.HOLDER
            label = f"holder {base.config.platform}" if own else f"base {base.config.platform}"
            kind = LayerKind.HOLDER if own else None
            result.append(BuiltLayer(descriptor=descriptor, kind=kind, label=label))
    return result


def _built(planned: PlannedLayer, descriptor: Descriptor) -> BuiltLayer:
    return BuiltLayer(descriptor=descriptor, kind=planned.kind, label=planned.label, planned=planned)
