"""A layer with its digests: what its blob is, and what the manifest and the model index say of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from modelcar.checkpoint import CheckpointFile, Header
from modelcar.layers.bytemap import ByteMap
from modelcar.layers.hashing import LayerDigests
from modelcar.layers.index import IndexedFile, IndexedLayer, StoredBlob
from modelcar.oci import Descriptor, Digest, media_types
from modelcar.packaging.annotations import LAYER, SNAPSHOT_INDEX, SNAPSHOT_LAYER
from modelcar.packaging.plan import MODEL_ROOT, LayerKind, PlannedLayer

__all__ = ["PackedLayer", "describe_layer"]


@dataclass(frozen=True, kw_only=True)
class PackedLayer:
    """A planned layer, hashed."""

    planned: PlannedLayer
    digests: LayerDigests

    @cached_property
    def content(self) -> ByteMap:
        """The blob."""
        return self.planned.content(self.digests)

    @property
    def media_type(self) -> str:
        return _media_type(self.planned)

    def nameable(self) -> Descriptor:
        """The blob with a name for people, in no manifest."""
        return _descriptor(
            self.planned, self.digests.blob, {"org.opencontainers.image.title": f"{self.planned.label}, upload"}
        )

    def describe(self, index_digest: Digest) -> Descriptor:
        """The layer as manifests list it."""
        estargz = self.planned.estargz
        toc = estargz.toc_digest(self.digests) if estargz is not None else None
        return describe_layer(self.planned, self.digests.blob, index=index_digest, toc=toc)

    def indexed(self, headers: Mapping[str, Header]) -> IndexedLayer:
        """The layer as the model index describes it."""
        by_path = {self.planned.place(f): f for f in self.planned.files}
        found = self.digests
        blob = StoredBlob(digest=found.blob, size=self.planned.size, media_type=self.media_type)
        return IndexedLayer(
            digest=found.digest,
            size=self.planned.tar_size,
            media_type=media_types.LAYER_TAR,
            chunks=found.chunks,
            files=tuple(
                _indexed_file(file, p.path, p.offset, found.files.get(p.path), headers.get(file.path))
                for p in self.planned.tar.payloads
                if (file := by_path.get(p.path)) is not None
            ),
            blob=blob if found.packed is not None else None,
        )


def describe_layer(planned: PlannedLayer, blob: Digest, *, index: Digest, toc: Digest | None = None) -> Descriptor:
    """A layer as manifests list it; only one that lies in its blob as it is can be mounted by its index.

    Args:
        index: of the layer with the model index.
        toc: of the table of contents of an eStargz layer.
    """
    annotations: dict[str, str] = {LAYER: planned.kind}
    if planned.estargz is not None and toc is not None:
        annotations |= planned.estargz.annotations(toc)
    elif planned.kind is LayerKind.WEIGHTS:
        annotations |= {SNAPSHOT_LAYER: planned.kind, SNAPSHOT_INDEX: str(index)}
    return _descriptor(planned, blob, annotations)


def _descriptor(planned: PlannedLayer, blob: Digest, annotations: Mapping[str, str]) -> Descriptor:
    return Descriptor(media_type=_media_type(planned), digest=blob, size=planned.size, annotations=annotations)


def _media_type(planned: PlannedLayer) -> str:
    return media_types.LAYER_TAR_GZIP if planned.estargz is not None else media_types.LAYER_TAR


def _indexed_file(
    file: CheckpointFile, place: str, offset: int, digest: Digest | None, header: Header | None
) -> IndexedFile:
    return IndexedFile(
        path=place.removeprefix(f"{MODEL_ROOT}/"),
        offset=offset,
        size=file.size,
        role=file.role,
        format=file.format,
        digest=digest,
        header_size=header.size if header else None,
        header=header.raw if header else None,
        tensors=header.tensors if header else (),
    )
