"""What an image is made of, from its documents and its model index; weights are not touched."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from modelcar.errors import InvalidContent
from modelcar.layers.index import INDEX_PATH, ModelIndex
from modelcar.oci import Descriptor, ImageConfig, Index, Manifest, media_types, parse_manifest
from modelcar.packaging.annotations import LAYER
from modelcar.packaging.plan import LayerKind
from modelcar.packaging.unpack import TAR_ERRORS

__all__ = ["Inspected", "InspectedManifest", "inspect_image"]

Read = Callable[[Descriptor], bytes]


@dataclass(frozen=True, kw_only=True)
class InspectedManifest:
    """One manifest: an image for a platform, or an artifact such as the ModelPack twin."""

    descriptor: Descriptor
    manifest: Manifest
    config: ImageConfig | None

    @property
    def kind(self) -> str:
        if self.manifest.artifact_type == media_types.MODELPACK_MANIFEST:
            return "modelpack"
        return "image" if self.manifest.is_image else (self.manifest.artifact_type or self.manifest.config.media_type)

    @property
    def size(self) -> int:
        """Bytes of all layers, as they are stored."""
        return sum(layer.size for layer in self.manifest.layers)

    def to_dict(self) -> dict[str, Any]:
        result: dict[str, Any] = {
            "digest": str(self.descriptor.digest),
            "kind": self.kind,
            "mediaType": self.manifest.media_type,
            "size": self.size,
            "annotations": dict(self.manifest.annotations),
            "layers": [layer.to_dict() for layer in self.manifest.layers],
        }
        if self.config is not None:
            result["platform"] = str(self.config.platform)
            result["config"] = dict(self.config.runtime)
        return result


@dataclass(frozen=True, kw_only=True)
class Inspected:
    """An image with all its manifests. `model` is its index, if it has one; layers not in the manifests are void."""

    root: Descriptor
    annotations: dict[str, str]
    manifests: tuple[InspectedManifest, ...]
    model: ModelIndex | None = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        result: dict[str, Any] = {
            "digest": str(self.root.digest),
            "mediaType": self.root.media_type,
            "annotations": self.annotations,
            "manifests": [m.to_dict() for m in self.manifests],
        }
        if self.model is not None:
            result["files"] = [
                {
                    "path": f.path,
                    "size": f.size,
                    "role": f.role,
                    "format": f.format,
                    "digest": str(f.digest) if f.digest else None,
                    "tensors": len(f.tensors),
                    "layer": str(layer.digest),
                }
                for layer in self.model.layers
                for f in layer.files
            ]
        return result


def inspect_image(root: Descriptor, read: Read) -> Inspected:
    """Look into the image at `root`; `read` returns the bytes of a document or small blob, checked.

    Raises:
        InvalidContent: a document is not what it should be.
        NotFound: something is missing.
    """
    document = parse_manifest(read(root), root.media_type)
    if isinstance(document, Index):
        entries = [d for d in document.manifests if d.media_type in media_types.MANIFESTS]
        manifests = tuple(_manifest(entry, read) for entry in entries)
    else:
        manifests = (_manifest(root, read),)
    return Inspected(
        root=root, annotations=dict(document.annotations), manifests=manifests, model=_model_index(manifests, read)
    )


def _manifest(descriptor: Descriptor, read: Read) -> InspectedManifest:
    manifest = Manifest.parse(read(descriptor), descriptor.media_type)
    config = ImageConfig.parse(read(manifest.config)) if manifest.is_image else None
    return InspectedManifest(descriptor=descriptor, manifest=manifest, config=config)


def _model_index(manifests: tuple[InspectedManifest, ...], read: Read) -> ModelIndex | None:
    for inspected in manifests:
        for layer in inspected.manifest.layers:
            # A tool that compressed the layers has also changed every digest in the index.
            if layer.annotations.get(LAYER) == LayerKind.INDEX and layer.media_type in media_types.UNCOMPRESSED_LAYERS:
                listed = {d.digest for d in inspected.manifest.layers}
                index = parse_index_layer(read(layer))
                return ModelIndex(root=index.root, layers=tuple(x for x in index.layers if x.digest in listed))
    return None


def parse_index_layer(blob: bytes) -> ModelIndex:
    """The model index in a layer's bytes.

    Raises:
        InvalidContent: it is not a tar with `/.modelcar/index.json` in it, or the index is malformed.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(blob), mode="r:") as tar:
            member = tar.getmember(INDEX_PATH)
            content = tar.extractfile(member) if member.isreg() else None  # a link may lead to itself
            raw = content.read() if content else None
    except (*TAR_ERRORS, KeyError):
        raw = None
    if raw is None:
        raise InvalidContent(f"the index layer holds no {INDEX_PATH}")
    return ModelIndex.parse(raw)
