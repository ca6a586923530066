"""What a mount shows: files, and where in which blob their bytes lie. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self

from modelcar.errors import InvalidDigest, InvalidDocument
from modelcar.oci import Descriptor, Digest, compact_json
from modelcar.oci.document import Fields, parse_object

__all__ = ["MountPlan", "MountedFile", "MountedLink"]

_MAX_PLAN: Final = 64 << 20  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class MountedFile:
    """A file at `path` below the mount point: its bytes are `[offset, offset + size)` of the blob with this number."""

    path: str
    blob: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MountedLink:
    """A symbolic link."""

    path: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MountPlan:
    """One mount. Folders are those that paths need; none is empty.

    Attributes:
        reference: as the user wrote it, for people.
        digest: of the image manifest that it was made from.
        blobs: the layers that files lie in, in the order in which a loader reads them.
        index: the layer with the model index; without one, no blob can be read before all of it was verified.
        files: sorted by path; no path is there twice, or a folder of another.
    """

    reference: str
    digest: Digest
    blobs: tuple[Descriptor, ...]
    files: tuple[MountedFile, ...]
    links: tuple[MountedLink, ...] = ()
    index: Descriptor | None = None

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def to_json(self) -> bytes:
        document: dict[str, Any] = {
            "reference": self.reference,
            "digest": str(self.digest),
            "blobs": [blob.to_dict() for blob in self.blobs],
            "files": [[f.path, f.blob, f.offset, f.size] for f in self.files],
            "links": [[link.path, link.target] for link in self.links],
        }
        if self.index is not None:
            document["index"] = self.index.to_dict()
        return compact_json(document)

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Raises `InvalidDocument` for what is not a plan, or names a blob or a place that is not there."""
        fields = Fields(document := parse_object(raw, "mount plan", limit=_MAX_PLAN), "plan")
        try:
            plan = cls(
                reference=fields.text("reference"),
                digest=Digest.parse(fields.text("digest")),
                blobs=tuple(map(Descriptor.from_fields, fields.objects("blobs"))),
                files=tuple(_file(*entry) for entry in document["files"]),
                links=tuple(_link(*entry) for entry in document["links"]),
                index=Descriptor.from_fields(index) if (index := fields.optional_object("index")) else None,
            )
        except (KeyError, TypeError, ValueError, InvalidDigest) as e:
            raise InvalidDocument(f"mount plan: {e}") from None
        plan.check()
        return plan

    def check(self) -> None:
        """Raise `InvalidDocument` unless it can be mounted: every file lies within its blob, and paths are relative,
        normal, sorted, and no file is a folder of another."""
        seen: set[str] = set()
        folders: set[str] = set()
        for path in [*(file.path for file in self.files), *(link.path for link in self.links)]:
            parts = path.split("/")
            if "\0" in path or any(part in ("", ".", "..") for part in parts):
                raise InvalidDocument(f"mount plan: {path!r} is not a relative path")
            if path in seen:
                raise InvalidDocument(f"mount plan: {path!r} is there twice")
            seen.add(path)
            folders |= {"/".join(parts[:n]) for n in range(1, len(parts))}
        if both := seen & folders:
            raise InvalidDocument(f"mount plan: {min(both)!r} is a file and a folder")
        for file in self.files:
            if not 0 <= file.blob < len(self.blobs):
                raise InvalidDocument(f"mount plan: {file.path!r} lies in a blob that is not listed")
            if not 0 <= file.offset <= file.offset + file.size <= self.blobs[file.blob].size:
                raise InvalidDocument(f"mount plan: {file.path!r} lies beyond the end of its blob")


def _file(path: Any, blob: Any, offset: Any, size: Any) -> MountedFile:
    if not isinstance(path, str) or any(type(number) is not int for number in (blob, offset, size)):
        raise TypeError("a file is a path and three numbers")
    return MountedFile(path=path, blob=blob, offset=offset, size=size)


def _link(path: Any, target: Any) -> MountedLink:
    if not isinstance(path, str) or not isinstance(target, str):
        raise TypeError("a link is two texts")
    return MountedLink(path=path, target=target)
