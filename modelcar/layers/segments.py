"""What a blob can consist of: literal bytes, ranges of files where they already lie, those as gzip, and zeros."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from modelcar.files import FileStamp
from modelcar.layers import storedgzip

__all__ = ["FileRange", "GzippedRange", "Literal", "Segment", "Zeros", "file_under"]


@dataclass(frozen=True, slots=True)
class Literal:
    """Bytes that the map itself holds: tar headers, padding with content, JSON."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def clip(self, start: int, stop: int) -> Literal:
        return Literal(self.data[start:stop])


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRange:
    """`size` bytes of the file at `path`, from `offset`. Without a `stamp` the file is never written to once named.

    `origin` is what the whole file's content is called where it comes from, wherever it lies by now. It is no proof.
    """

    path: Path
    offset: int
    size: int
    stamp: FileStamp | None = None
    origin: str | None = field(default=None, compare=False, repr=False)

    def clip(self, start: int, stop: int) -> FileRange:
        return replace(self, offset=self.offset + start, size=stop - start)


@dataclass(frozen=True, slots=True)
class Zeros:
    """`size` zero bytes."""

    size: int

    def clip(self, start: int, stop: int) -> Zeros:
        return Zeros(stop - start)


@dataclass(frozen=True, slots=True, kw_only=True)
class GzippedRange:
    """A file range as gzip members that store it uncompressed: `member` bytes of it in each, the rest in the last.

    Attributes:
        crcs: the CRC-32 of each member's content, four bytes each, little-endian.
        start: where in those members the segment begins.
        stop: where it ends.
    """

    content: FileRange
    member: int
    crcs: bytes
    start: int
    stop: int

    @classmethod
    def of(cls, content: FileRange, member: int, crcs: bytes) -> GzippedRange:
        """All of it. `ValueError` unless there is one checksum for each member."""
        if member < 1 or len(crcs) != -(-content.size // member) * storedgzip.CRC_SIZE:
            raise ValueError(f"{len(crcs)} bytes of checksums for {content.size} bytes in members of {member}")
        stop = storedgzip.members_size(content.size, member)
        return cls(content=content, member=member, crcs=crcs, start=0, stop=stop)

    @property
    def size(self) -> int:
        return self.stop - self.start

    @property
    def is_whole(self) -> bool:
        return (self.start, self.stop) == (0, storedgzip.members_size(self.content.size, self.member))

    def clip(self, start: int, stop: int) -> GzippedRange:
        return replace(self, start=self.start + start, stop=self.start + stop)

    def pieces(self, start: int, stop: int) -> Iterator[bytes | range]:
        """What `[start, stop)` of the segment is made of: framing, and ranges of the file that `content` names."""
        framed = storedgzip.pieces(self.content.size, self.member, self.crcs, self.start + start, self.start + stop)
        for piece in framed:
            if isinstance(piece, range):
                yield range(self.content.offset + piece.start, self.content.offset + piece.stop)
            else:
                yield piece


Segment = Literal | FileRange | Zeros | GzippedRange


def file_under(segment: Segment) -> FileRange | None:
    """The file range that a segment takes bytes from."""
    if isinstance(segment, GzippedRange):
        return segment.content
    return segment if isinstance(segment, FileRange) else None
