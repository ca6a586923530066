"""Checkpoint to image: digest the layers, describe them, and write what describes them. No weight byte is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelcar.checkpoint import Checkpoint, CheckpointFile, Header, ModelFacts
from modelcar.layers.bytemap import ByteMap, Literal
from modelcar.layers.hashing import LayerDigests, hash_layer
from modelcar.layers.index import INDEX_PATH, IndexedFile, IndexedLayer, ModelIndex
from modelcar.layers.tar import Entry, build_tar
from modelcar.oci import Descriptor, Digest, ImageConfig, Index, Manifest, Platform, media_types
from modelcar.packaging.annotations import KIND, LAYER, MODELPACK, SNAPSHOT_INDEX, SNAPSHOT_LAYER
from modelcar.packaging.base import Base
from modelcar.packaging.digests import digest_layers
from modelcar.packaging.modelpack import modelpack_layers, modelpack_manifest
from modelcar.packaging.plan import DEFAULT_MAX_LAYERS, MODEL_ROOT, LayerKind, PlannedLayer, plan_layers
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
    content_digests: bool = False,
    workers: int | None = None,
    progress: Progress = SILENT,
    upload: Callable[[Descriptor, ByteMap], None] | None = None,
) -> BuiltImage:
    """Build one image for each base over the same model layers, and the ModelPack twin, under one index.

    The caller holds `store.session()` until it has named the result. `upload` is given every model layer as soon as its
    digest is known, from any thread, so that it can be on its way while the others are still hashed.

    Raises:
        SourceError: the checkpoint cannot be packaged.
        SourceChanged: a file changed while it was hashed.
    """
    headers = checkpoint.headers()
    reserved = 1 + max((len(base.layers) for base in bases), default=0)
    planned = plan_layers(checkpoint, max_layers=max_layers, reserved=reserved)

    def digested(layer: PlannedLayer, found: LayerDigests) -> None:
        if upload is not None:
            upload(_nameable(layer, found), layer.tar.content)

    digests = digest_layers(
        planned,
        store.memo,
        content_digests=content_digests,
        workers=workers,
        progress=progress,
        digested=digested,
    )
    for layer, found in zip(planned, digests, strict=True):
        store.content.add_recipe(found.digest, layer.tar.content)
    index_layer = _write_index_layer(store, planned, digests, headers)
    layers = [
        (layer, _describe(layer, found, index_layer.digest)) for layer, found in zip(planned, digests, strict=True)
    ]
    facts = checkpoint.facts()
    annotations = facts.annotations()
    entries = [_write_image(store, base, layers, index_layer, annotations) for base in bases]
    twin = _write_modelpack(store, facts, layers, index_layer, annotations)
    index = Index(manifests=(*entries, twin), annotations=annotations)
    write_document(store.content, index.content, index.digest)
    return BuiltImage(
        index=index.descriptor,
        modelpack=twin.plain(),
        platforms=tuple(base.config.platform for base in bases),
        layers=tuple(_built_layers(layers, index_layer, bases)),
        model_size=sum(f.size for f in checkpoint.files),
    )


def _nameable(layer: PlannedLayer, digests: LayerDigests) -> Descriptor:
    """The layer's blob with a name for people, in no manifest."""
    return Descriptor(
        media_type=media_types.LAYER_TAR,
        digest=digests.digest,
        size=layer.size,
        annotations={"org.opencontainers.image.title": f"{layer.label}, upload"},
    )


def _describe(layer: PlannedLayer, digests: LayerDigests, index_digest: Digest) -> Descriptor:
    annotations: dict[str, str] = {LAYER: layer.kind}
    if layer.kind is LayerKind.WEIGHTS:
        annotations |= {SNAPSHOT_LAYER: layer.kind, SNAPSHOT_INDEX: str(index_digest)}
    return Descriptor(media_type=media_types.LAYER_TAR, digest=digests.digest, size=layer.size, annotations=annotations)


def _write_index_layer(
    store: LocalStore, layers: Sequence[PlannedLayer], digests: Sequence[LayerDigests], headers: Mapping[str, Header]
) -> Descriptor:
    index = ModelIndex(
        root=f"/{MODEL_ROOT}",
        layers=tuple(_index_layer(layer, found, headers) for layer, found in zip(layers, digests, strict=True)),
    )
    tar = build_tar([Entry(path=INDEX_PATH, content=Literal(index.to_json()))])
    digest = hash_layer(tar).digest
    store.content.materialise(digest, tar.content)
    return Descriptor(
        media_type=media_types.LAYER_TAR,
        digest=digest,
        size=tar.content.size,
        annotations={LAYER: LayerKind.INDEX},
    )


def _index_layer(layer: PlannedLayer, digests: LayerDigests, headers: Mapping[str, Header]) -> IndexedLayer:
    by_path = {f"{MODEL_ROOT}/{f.path}": f for f in layer.files}
    return IndexedLayer(
        digest=digests.digest,
        size=layer.size,
        media_type=media_types.LAYER_TAR,
        chunks=digests.chunks,
        files=tuple(
            _index_file(by_path[p.path], p.offset, digests.files.get(p.path), headers.get(by_path[p.path].path))
            for p in layer.tar.payloads
        ),
    )


def _index_file(file: CheckpointFile, offset: int, digest: Digest | None, header: Header | None) -> IndexedFile:
    return IndexedFile(
        path=file.path,
        offset=offset,
        size=file.size,
        role=file.role,
        format=file.format,
        digest=digest,
        header_size=header.size if header else None,
        header=header.raw if header else None,
        tensors=header.tensors if header else (),
    )


def _write_image(
    store: LocalStore,
    base: Base,
    layers: Sequence[tuple[PlannedLayer, Descriptor]],
    index_layer: Descriptor,
    annotations: Mapping[str, str],
) -> Descriptor:
    """Write one platform's manifest and config; returns its entry in the image index."""
    for digest, content in base.blobs.items():
        store.content.materialise(digest, content)
    model = [*(descriptor for _, descriptor in layers), index_layer]
    config = _image_config(base, layers, model, annotations)
    manifest = Manifest(config=config.descriptor, layers=(*model, *base.layers), annotations=annotations)
    write_document(store.content, config.content, config.digest)
    write_document(store.content, manifest.content, manifest.digest)
    return _entry(manifest, base.config.platform)


def _image_config(
    base: Base,
    layers: Sequence[tuple[PlannedLayer, Descriptor]],
    model: Sequence[Descriptor],
    annotations: Mapping[str, str],
) -> ImageConfig:
    """The base's config with the model's layers underneath; an uncompressed layer's digest is its diff id."""
    history = [{"created_by": f"modelcar {planned.kind}", "comment": planned.label} for planned, _ in layers]
    history.append({"created_by": f"modelcar {LayerKind.INDEX}", "comment": INDEX_PATH})
    config = base.config.prepend_layers([d.digest for d in model], history)
    if sum(not h.get("empty_layer") for h in base.config.history) != len(base.layers):
        config = config.edited(history=())  # engines compare the two, and a wrong history is worse than none
    labels = {**(base.config.runtime.get("Labels") or {}), **annotations}
    runtime: dict[str, Any] = {**base.config.runtime, "Labels": dict(sorted(labels.items()))}
    return config.edited(runtime=runtime)


def _write_modelpack(
    store: LocalStore,
    facts: ModelFacts,
    layers: Sequence[tuple[PlannedLayer, Descriptor]],
    index_layer: Descriptor,
    annotations: Mapping[str, str],
) -> Descriptor:
    twins = modelpack_layers(layers, index_layer)
    config = facts.modelpack_config([str(d.digest) for d in twins])
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
    layers: Sequence[tuple[PlannedLayer, Descriptor]], index_layer: Descriptor, bases: Sequence[Base]
) -> list[BuiltLayer]:
    result = [BuiltLayer(descriptor=d, kind=p.kind, label=p.label, planned=p) for p, d in layers]
    result.append(BuiltLayer(descriptor=index_layer, kind=LayerKind.INDEX, label="model index"))
    for base in bases:
        for descriptor in base.layers:
            own = descriptor.annotations.get(LAYER) == LayerKind.HOLDER
            label = f"holder {base.config.platform}" if own else f"base {base.config.platform}"
            kind = LayerKind.HOLDER if own else None
            result.append(BuiltLayer(descriptor=descriptor, kind=kind, label=label))
    return result
