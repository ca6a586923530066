"""What an image is made of, from its documents and its model index; weights are not touched."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from modelcar.errors import InvalidContent, InvalidDocument
from modelcar.layers.index import INDEX_PATH, ModelIndex
from modelcar.oci import Descriptor, Digest, ImageConfig, Index, Manifest, media_types, parse_manifest
from modelcar.oci.document import MAX_DOCUMENT
from modelcar.oci.validate import MAX_NESTING
from modelcar.packaging.annotations import LAYER
from modelcar.packaging.plan import LayerKind
from modelcar.packaging.unpack import TAR_ERRORS

__all__ = ["Inspected", "InspectedManifest", "index_layer_of", "inspect_image", "parse_index_layer"]

Read = Callable[[Descriptor], bytes]
ReadIndex = Callable[[bytes], ModelIndex]
_MAX_DOCUMENTS: Final = 1000  # of one image
_MAX_BYTES: Final = 64 << 20  # of all of them and their configurations together


@dataclass(frozen=True, kw_only=True)
class InspectedManifest:
    """One manifest: an image for a platform, or an artifact such as the ModelPack twin.

    `model` is its own model index, if it has one; layers that the manifest does not list are void.
    """

    descriptor: Descriptor
    manifest: Manifest
    config: ImageConfig | None
    model: ModelIndex | None = field(default=None, repr=False)

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
    """An image with all its manifests, those of nested indexes included, each once.

    Attributes:
        indexes: every index by the digest under which it is listed, the root first if it is one.
        others: what indexes list that is neither manifest nor index.
    """

    root: Descriptor
    annotations: dict[str, str]
    manifests: tuple[InspectedManifest, ...]
    indexes: Mapping[Digest, Index] = field(default_factory=dict)
    others: tuple[Descriptor, ...] = ()

    @property
    def model(self) -> ModelIndex | None:
        """The first manifest's model index; in images that modelcar made all manifests have the same."""
        return next((m.model for m in self.manifests if m.model is not None), None)

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
                    "layer": str(layer.listed_as),
                }
                for layer in self.model.layers
                for f in layer.files
            ]
        return result


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


def inspect_image(root: Descriptor, read: Read, *, models: ReadIndex | None = parse_index_layer) -> Inspected:
    """Look into the image at `root`; `read` returns the bytes of a document or small blob, checked.

    `models` makes of an index layer's bytes what is wanted of it; without, no model index is read.

    Raises:
        InvalidContent: a document is not what it should be, or there are more of them than an image has.
        NotFound: something is missing.
    """
    looker = _Looker(read, models=models)
    document = looker.visit(root, 0)
    return Inspected(
        root=root,
        annotations=dict(document.annotations),
        manifests=tuple(looker.manifests),
        indexes={digest: d for digest, d in looker.documents.items() if isinstance(d, Index)},
        others=tuple(looker.others),
    )


class _Looker:
    """Reads every document of an image once, in the order in which they are listed."""

    def __init__(self, read: Read, *, models: ReadIndex | None) -> None:
        self._open = read
        self._left = _MAX_BYTES
        self._read_index = models
        self._models: dict[Digest, ModelIndex] = {}
        self.documents: dict[Digest, Manifest | Index] = {}
        self.manifests: list[InspectedManifest] = []
        self.others: list[Descriptor] = []

    def _read(self, descriptor: Descriptor) -> bytes:
        self._left -= descriptor.size
        if descriptor.size > MAX_DOCUMENT or self._left < 0:
            raise InvalidDocument(f"{descriptor.digest} has {descriptor.size} bytes, more than documents have")
        return self._open(descriptor)

    def visit(self, descriptor: Descriptor, depth: int) -> Manifest | Index:
        if depth > MAX_NESTING or len(self.documents) >= _MAX_DOCUMENTS:
            raise InvalidDocument(f"{descriptor.digest} is nested too deeply, or is one manifest too many")
        document = parse_manifest(self._read(descriptor), descriptor.media_type)
        self.documents[descriptor.digest] = document
        if isinstance(document, Manifest):
            self.manifests.append(self._manifest(descriptor, document))
            return document
        for entry in document.manifests:
            if entry.media_type not in media_types.INDEXES | media_types.MANIFESTS:
                self.others.append(entry)
            elif entry.digest not in self.documents:
                self.visit(entry, depth + 1)
        return document

    def _manifest(self, descriptor: Descriptor, manifest: Manifest) -> InspectedManifest:
        config = ImageConfig.parse(self._read(manifest.config)) if manifest.is_image else None
        return InspectedManifest(
            descriptor=descriptor, manifest=manifest, config=config, model=self._model_index(manifest)
        )

    def _model_index(self, manifest: Manifest) -> ModelIndex | None:
        layer = index_layer_of(manifest)
        if layer is None or self._read_index is None:
            return None
        if layer.digest not in self._models:
            self._models[layer.digest] = self._read_index(self._open(layer))
        index, listed = self._models[layer.digest], {d.digest for d in manifest.layers}
        return ModelIndex(root=index.root, layers=tuple(x for x in index.layers if x.listed_as in listed))


def index_layer_of(manifest: Manifest) -> Descriptor | None:
    """The layer with the model index, if there is one."""
    for layer in manifest.layers:
        # A tool that compressed the layers has also changed every digest in the index.
        if layer.annotations.get(LAYER) == LayerKind.INDEX and layer.media_type in media_types.UNCOMPRESSED_LAYERS:
            return layer
    return None
