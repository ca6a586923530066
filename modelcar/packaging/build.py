"""Checkpoint to image: digest the layers, describe them, and write what describes them. No weight byte is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from modelcar.checkpoint import Checkpoint, ModelFacts
from modelcar.errors import UsageError
from modelcar.layers.bytemap import ByteMap, Literal
from modelcar.layers.hashing import hash_layer
from modelcar.layers.index import INDEX_PATH, IndexedLayer, ModelIndex
from modelcar.layers.tar import Entry, build_tar
from modelcar.oci import Descriptor, Digest, ImageConfig, Index, Manifest, Platform, media_types
from modelcar.packaging.annotations import KIND, LAYER, MODELPACK, SOCI, SOCI_INDEX
from modelcar.packaging.arriving import Bringer
from modelcar.packaging.base import Base
from modelcar.packaging.departures import Departures
from modelcar.packaging.digests import digest_layers
from modelcar.packaging.model_base import ModelBase, ModelBaseLayer
from modelcar.packaging.modelpack import modelpack_layers, modelpack_manifest
from modelcar.packaging.packed import PackedLayer
from modelcar.packaging.passing import Passing
from modelcar.packaging.plan import DEFAULT_MAX_LAYERS, MODEL_ROOT, LayerKind, Packing, PlannedLayer, plan_layers
from modelcar.packaging.soci import write_soci_index
from modelcar.packaging.streams import Begin
from modelcar.progress import SILENT, Progress
from modelcar.store import LocalStore, write_document

__all__ = ["BuiltImage", "BuiltLayer", "build_image"]

_UNKNOWN = Platform(os="unknown", architecture="unknown")


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
    expected: Callable[[Sequence[PlannedLayer]], None] = lambda _: None,
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
        expected: is told what the layers will be, before anything is read.
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
    headers = checkpoint.headers()
    below = beneath.layers if beneath is not None else ()
    reserved = 1 + len(below) + max((len(base.layers) for base in bases), default=0)
    planned = plan_layers(checkpoint, max_layers=max_layers, reserved=reserved, packing=packing, folder=folder)
    _check_beneath(beneath, planned, packing)
    expected(planned)
    leaving = Departures(upload=upload, passing=passing, streaming=streaming)
    layers = digest_layers(
        planned,
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
    indexed = [*(layer.indexed for layer in below), *(layer.indexed(headers) for layer in layers)]
    index_layer = _write_index_layer(store, indexed)
    described = [(layer, layer.describe(index_layer.digest)) for layer in layers]
    model = _model_layers(below, described, index_layer)
    facts = checkpoint.facts()
    annotations = _annotations(facts.annotations(), annotations or {})
    soci = write_soci_index(store.content, described) if packing is Packing.SOCI else None
    annotated = annotations | ({SOCI_INDEX: str(soci.digest)} if soci is not None else {})
    entries = [_write_image(store, base, model, annotated) for base in bases]
    twin = _write_modelpack(store, facts, beneath, described, index_layer, annotations)
    index = Index(manifests=(*entries, *_soci_entries(soci), twin), annotations=annotations)
    write_document(store.content, index.content, index.digest)
    return BuiltImage(
        index=index.descriptor,
        modelpack=twin.plain(),
        platforms=tuple(base.config.platform for base in bases),
        layers=tuple(_built_layers(below, described, index_layer, bases)),
        model_size=sum(f.size for f in checkpoint.files) + (beneath.size if beneath is not None else 0),
    )


def _annotations(of_files: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """In one order; a given one that is empty takes that of the files away."""
    said = {**of_files, **given}
    return {key: said[key] for key in sorted(said) if said[key]}


def _soci_entries(soci: Descriptor | None) -> list[Descriptor]:
    return [replace(soci, platform=_UNKNOWN, annotations={KIND: SOCI})] if soci is not None else []


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


def _check_beneath(beneath: ModelBase | None, planned: Sequence[PlannedLayer], packing: Packing) -> None:
    if beneath is None:
        return
    if packing is not Packing.TAR:
        raise UsageError(f"an image with its base is a plain one, and cannot be packed as {packing}")
    places = {layer.place(file).removeprefix(f"{MODEL_ROOT}/") for layer in planned for file in layer.files}
    if both := sorted(places & beneath.paths):
        raise UsageError(f"the base has a file {both[0]}, too", hint="give the adapter another name")


@dataclass(frozen=True, slots=True, kw_only=True)
class _ModelLayer:
    """A layer of the model as every platform's manifest and config have it."""

    descriptor: Descriptor
    diff_id: Digest
    kind: LayerKind
    label: str


def _model_layers(
    below: Sequence[ModelBaseLayer], layers: Sequence[tuple[PackedLayer, Descriptor]], index_layer: Descriptor
) -> list[_ModelLayer]:
    """Bottom to top."""
    index = index_layer.digest
    return [
        *(_ModelLayer(descriptor=b.describe(index), diff_id=b.digest, kind=b.kind, label=b.label) for b in below),
        *(
            _ModelLayer(descriptor=d, diff_id=p.digests.digest, kind=p.planned.kind, label=p.planned.label)
            for p, d in layers
        ),
        _ModelLayer(descriptor=index_layer, diff_id=index, kind=LayerKind.INDEX, label=INDEX_PATH),
    ]


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


def _write_image(
    store: LocalStore,
    base: Base,
    layers: Sequence[_ModelLayer],
    annotations: Mapping[str, str],
) -> Descriptor:
    """Write one platform's manifest and config; returns its entry in the image index."""
    for digest, content in base.blobs.items():
        store.content.materialise(digest, content)
    model = [layer.descriptor for layer in layers]
    config = _image_config(base, layers, annotations)
    manifest = Manifest(config=config.descriptor, layers=(*model, *base.layers), annotations=annotations)
    write_document(store.content, config.content, config.digest)
    write_document(store.content, manifest.content, manifest.digest)
    return _entry(manifest, base.config.platform)


def _image_config(base: Base, layers: Sequence[_ModelLayer], annotations: Mapping[str, str]) -> ImageConfig:
    """The base's config with the model's layers underneath."""
    history = [{"created_by": f"modelcar {layer.kind}", "comment": layer.label} for layer in layers]
    config = base.config.prepend_layers([layer.diff_id for layer in layers], history)
    if sum(not h.get("empty_layer") for h in base.config.history) != len(base.layers):
        config = config.edited(history=())  # engines compare the two, and a wrong history is worse than none
    labels = {**(base.config.runtime.get("Labels") or {}), **annotations}
    runtime: dict[str, Any] = {**base.config.runtime, "Labels": dict(sorted(labels.items()))}
    return config.edited(runtime=runtime)


def _write_modelpack(
    store: LocalStore,
    facts: ModelFacts,
    beneath: ModelBase | None,
    layers: Sequence[tuple[PackedLayer, Descriptor]],
    index_layer: Descriptor,
    annotations: Mapping[str, str],
) -> Descriptor:
    below = beneath.layers if beneath is not None else ()
    twins = modelpack_layers([(layer.planned, descriptor) for layer, descriptor in layers], index_layer, below)
    digests = [*(layer.digest for layer in below), *(p.digests.digest for p, _ in layers), index_layer.digest]
    config = facts.modelpack_config([str(digest) for digest in digests])
    if beneath is not None and beneath.modelpack:  # which says what the model is; an adapter's files cannot
        config = {**beneath.modelpack, "modelfs": config["modelfs"]}
    manifest, content = modelpack_manifest(config, twins, annotations)
    write_document(store.content, content, manifest.config.digest)
    write_document(store.content, manifest.content, manifest.digest)
    # No artifactType here: skopeo drops it when it copies an index, which changes the index's digest.
    return _entry(manifest, _UNKNOWN).annotated({KIND: MODELPACK})


def _entry(manifest: Manifest, platform: Platform) -> Descriptor:
    return Descriptor(
        media_type=manifest.media_type, digest=manifest.digest, size=len(manifest.content), platform=platform
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
