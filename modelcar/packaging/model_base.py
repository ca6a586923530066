"""A model in an image, as what lies beneath an adapter in another: its layers, by descriptor alone.

No layer is fetched or hashed. What the base's manifest, config and model index say of a layer has to agree, and the
base itself is named by digest, so that nobody can put other documents in their place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from modelcar.errors import InvalidContent, InvalidDocument, UsageError
from modelcar.layers.index import IndexedLayer, ModelIndex
from modelcar.oci import Descriptor, Digest, ImageConfig, Index, Manifest, media_types, parse_object
from modelcar.packaging.annotations import KIND, LAYER, MODELPACK, SNAPSHOT_INDEX, SNAPSHOT_LAYER
from modelcar.packaging.fetch import ImageSource, choose_manifest
from modelcar.packaging.inspect import index_layer_of, parse_index_layer
from modelcar.packaging.labels import layer_labels
from modelcar.packaging.plan import MODEL_ROOT, LayerKind

__all__ = ["ModelBase", "ModelBaseLayer", "read_model_base"]

_MODEL = (LayerKind.WEIGHTS, LayerKind.FILES)
_BUILD_IT_PLAIN = "build the base without --estargz"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelBaseLayer:
    """A layer of the base with files of its model: a plain tar, so its digest is its diff id."""

    descriptor: Descriptor
    kind: LayerKind
    label: str
    indexed: IndexedLayer

    @property
    def digest(self) -> Digest:
        return self.descriptor.digest

    def describe(self, index_digest: Digest) -> Descriptor:
        """As the new image lists it."""
        annotations: dict[str, str] = {LAYER: self.kind}
        if self.kind is LayerKind.WEIGHTS:
            annotations |= {SNAPSHOT_LAYER: self.kind, SNAPSHOT_INDEX: str(index_digest)}
        return Descriptor(
            media_type=media_types.LAYER_TAR,
            digest=self.digest,
            size=self.descriptor.size,
            annotations=annotations,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelBase:
    """What `build_image` puts beneath the layers of a checkpoint.

    Attributes:
        layers: bottom to top.
        annotations: the base's own.
        modelpack: the config of the base's ModelPack twin; empty where there is none.
    """

    layers: tuple[ModelBaseLayer, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)
    modelpack: Mapping[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(file.size for layer in self.layers for file in layer.indexed.files)

    @property
    def paths(self) -> frozenset[str]:
        """Of its files."""
        return frozenset(file.path for layer in self.layers for file in layer.indexed.files)


def read_model_base(source: ImageSource, root: Descriptor, name: str) -> ModelBase:
    """The model in the image at `root`, which people call `name`. Reads documents and the model index.

    Raises:
        UsageError: it has no model index, or its layers are not plain tars.
        InvalidContent: its documents disagree about a layer.
        WorldError: the registry or the disk fails.
    """
    manifest = choose_manifest(source, root)
    index_layer = index_layer_of(manifest) if manifest.is_image else None
    if index_layer is None:
        raise UsageError(f"{name} has no model index, so nothing can be built on it", hint="build it with modelcar")
    index = parse_index_layer(source.read(index_layer))
    if index.root != f"/{MODEL_ROOT}":
        raise UsageError(f"{name} has its model in {index.root}, not in /{MODEL_ROOT}")
    layers = _layers(manifest, _diff_ids(manifest, source, name), index, layer_labels(manifest, source.read), name)
    if not layers:
        raise UsageError(f"{name} has no model in it")
    return ModelBase(layers=tuple(layers), annotations=dict(manifest.annotations), modelpack=_modelpack(source, root))


def _diff_ids(manifest: Manifest, source: ImageSource, name: str) -> Sequence[Digest]:
    """Of each layer of the manifest."""
    config = ImageConfig.parse(source.read(manifest.config))
    if len(config.diff_ids) != len(manifest.layers):
        raise InvalidDocument(f"{name} has {len(manifest.layers)} layers and {len(config.diff_ids)} diff ids")
    return config.diff_ids


def _layers(
    manifest: Manifest, diff_ids: Sequence[Digest], index: ModelIndex, labels: Mapping[Digest, str], name: str
) -> list[ModelBaseLayer]:
    indexed = {layer.listed_as: layer for layer in index.layers}
    layers = []
    for descriptor, diff_id in zip(manifest.layers, diff_ids, strict=True):
        kind = descriptor.annotations.get(LAYER)
        if kind not in _MODEL:
            continue
        digest = descriptor.digest
        if descriptor.media_type not in media_types.UNCOMPRESSED_LAYERS:
            raise UsageError(f"{name} has compressed layers, and an adapter goes on plain ones", hint=_BUILD_IT_PLAIN)
        found = indexed.get(digest)
        if found is None:
            raise InvalidContent(f"{name} lies: its model index says nothing of the files in layer {digest}")
        if diff_id != digest:
            raise InvalidContent(f"{name} lies: layer {digest} is no compressed one, and its diff id is {diff_id}")
        if found.size != descriptor.size:
            raise InvalidContent(
                f"{name} lies: its model index gives layer {digest} {found.size} bytes, "
                f"and its manifest {descriptor.size}"
            )
        label = labels.get(digest) or (found.files[0].path if len(found.files) == 1 else f"{len(found.files)} files")
        layers.append(ModelBaseLayer(descriptor=descriptor, kind=LayerKind(kind), label=label, indexed=found))
    return layers


def _modelpack(source: ImageSource, root: Descriptor) -> Mapping[str, Any]:
    document = source.document(root)
    entries = document.manifests if isinstance(document, Index) else ()
    twin = next((entry for entry in entries if entry.annotations.get(KIND) == MODELPACK), None)
    if twin is None:
        return {}
    manifest = source.document(twin)
    return parse_object(source.read(manifest.config), "config") if isinstance(manifest, Manifest) else {}
