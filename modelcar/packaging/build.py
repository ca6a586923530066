"""Checkpoint to image: digest the layers, describe them, and write what describes them. No weight byte is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from modelcar.checkpoint import Checkpoint, Header, ModelFacts
from modelcar.layers.bytemap import ByteMap, Literal
from modelcar.layers.hashing import hash_layer
from modelcar.layers.index import INDEX_PATH, ModelIndex
from modelcar.layers.tar import Entry, build_tar
from modelcar.oci import Descriptor, ImageConfig, Index, Manifest, Platform, media_types
from modelcar.packaging.annotations import KIND, LAYER, MODELPACK, SOCI, SOCI_INDEX
from modelcar.packaging.arriving import Bringer
from modelcar.packaging.base import Base
from modelcar.packaging.departures import Departures
from modelcar.packaging.digests import digest_layers
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
) -> BuiltImage:
    """Build one image for each base over the same model layers, and the ModelPack twin, under one index.

    The caller holds `store.session()` until it has named the result. `upload` is given every model layer as soon as its
    digest is known, from any thread, so that it can be on its way while the others are still hashed.

    Args:
        passing: for layers that are to go through this machine without staying; in the store nothing is left of them.
        arrived: is told of every layer before `upload` and before a stream gets its digest, its files in the places
            where they are now; what it raises keeps the layer from being anywhere.
        expected: is told what the layers will be, before anything is read.
        streaming: sends layers while they are hashed; those that it takes are not given to `upload`.
        annotations: of the image, besides those that its files give.

    Raises:
        SourceError: the checkpoint cannot be packaged.
        SourceChanged: a file changed while it was hashed.
        DigestMismatch: a file is not what the Hub says that it is.
        WorldError: a file cannot be brought.
    """
    headers = checkpoint.headers()
    reserved = 1 + max((len(base.layers) for base in bases), default=0)
    planned = plan_layers(checkpoint, max_layers=max_layers, reserved=reserved, packing=packing)

    expected(planned)
    leaving = Departures(upload=upload, passing=passing, streaming=streaming)
    remote = checkpoint.remote
    layers = digest_layers(
        planned,
        store.memo,
        content_digests=content_digests,
        workers=leaving.workers(workers),
        progress=progress,
        bring=Bringer(remote, passing.has if passing is not None else lambda *_: False) if remote is not None else None,
        begin=leaving.begin,
        arrived=arrived,
        digested=leaving.digested,
        abandoned=passing.target.cancel if passing is not None else lambda: None,
    )
    for layer in layers:
        if passing is not None:
            passing.keep(store.content, layer)
        else:
            store.content.add_recipe(layer.digests.blob, layer.content)
    index_layer = _write_index_layer(store, layers, headers)
    described = [(layer, layer.describe(index_layer.digest)) for layer in layers]
    facts = checkpoint.facts()
    annotations = dict(sorted({**facts.annotations(), **(annotations or {})}.items()))
    soci = write_soci_index(store.content, described) if packing is Packing.SOCI else None
    annotated = {**annotations, SOCI_INDEX: str(soci.digest)} if soci is not None else annotations
    entries = [_write_image(store, base, described, index_layer, annotated) for base in bases]
    twin = _write_modelpack(store, facts, described, index_layer, annotations)
    others = [replace(soci, platform=_UNKNOWN, annotations={KIND: SOCI})] if soci is not None else []
    index = Index(manifests=(*entries, *others, twin), annotations=annotations)
    write_document(store.content, index.content, index.digest)
    return BuiltImage(
        index=index.descriptor,
        modelpack=twin.plain(),
        platforms=tuple(base.config.platform for base in bases),
        layers=tuple(_built_layers(described, index_layer, bases)),
        model_size=sum(f.size for f in checkpoint.files),
    )


def _write_index_layer(store: LocalStore, layers: Sequence[PackedLayer], headers: Mapping[str, Header]) -> Descriptor:
    index = ModelIndex(root=f"/{MODEL_ROOT}", layers=tuple(layer.indexed(headers) for layer in layers))
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
    layers: Sequence[tuple[PackedLayer, Descriptor]],
    index_layer: Descriptor,
    annotations: Mapping[str, str],
) -> Descriptor:
    """Write one platform's manifest and config; returns its entry in the image index."""
    for digest, content in base.blobs.items():
        store.content.materialise(digest, content)
    model = [*(descriptor for _, descriptor in layers), index_layer]
    config = _image_config(base, layers, index_layer, annotations)
    manifest = Manifest(config=config.descriptor, layers=(*model, *base.layers), annotations=annotations)
    write_document(store.content, config.content, config.digest)
    write_document(store.content, manifest.content, manifest.digest)
    return _entry(manifest, base.config.platform)


def _image_config(
    base: Base,
    layers: Sequence[tuple[PackedLayer, Descriptor]],
    index_layer: Descriptor,
    annotations: Mapping[str, str],
) -> ImageConfig:
    """The base's config with the model's layers underneath."""
    history = [{"created_by": f"modelcar {p.planned.kind}", "comment": p.planned.label} for p, _ in layers]
    history.append({"created_by": f"modelcar {LayerKind.INDEX}", "comment": INDEX_PATH})
    config = base.config.prepend_layers([*(p.digests.digest for p, _ in layers), index_layer.digest], history)
    if sum(not h.get("empty_layer") for h in base.config.history) != len(base.layers):
        config = config.edited(history=())  # engines compare the two, and a wrong history is worse than none
    labels = {**(base.config.runtime.get("Labels") or {}), **annotations}
    runtime: dict[str, Any] = {**base.config.runtime, "Labels": dict(sorted(labels.items()))}
    return config.edited(runtime=runtime)


def _write_modelpack(
    store: LocalStore,
    facts: ModelFacts,
    layers: Sequence[tuple[PackedLayer, Descriptor]],
    index_layer: Descriptor,
    annotations: Mapping[str, str],
) -> Descriptor:
    twins = modelpack_layers([(layer.planned, descriptor) for layer, descriptor in layers], index_layer)
    config = facts.modelpack_config([*(str(p.digests.digest) for p, _ in layers), str(index_layer.digest)])
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
    layers: Sequence[tuple[PackedLayer, Descriptor]], index_layer: Descriptor, bases: Sequence[Base]
) -> list[BuiltLayer]:
    result = [_built(layer.planned, descriptor) for layer, descriptor in layers]
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
