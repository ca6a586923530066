"""Where the bytes of an upload come from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Final, Protocol

from modelcar.layers.bytemap import ByteMap, FileRange, FileSlice, Literal, Zeros

__all__ = ["PIECE", "BlobSource", "fingerprint", "map_source"]

PIECE: Final = 8 << 20  # how much goes to the kernel at once, so that progress moves and cancelling is noticed


class BlobSource(Protocol):
    """Any range of a blob's bytes, any number of times."""

    def __call__(self, offset: int, length: int) -> Iterator[bytes | FileSlice]: ...


def map_source(source: ByteMap) -> BlobSource:
    """The pieces of a byte map."""

    def pieces(offset: int, length: int) -> Iterator[bytes | FileSlice]:
        with source.open(offset, length) as reader:
            for piece in reader.slices():
                yield from cut(piece, PIECE)

    return pieces


def cut(piece: bytes | FileSlice, most: int) -> Iterator[bytes | FileSlice]:
    """The same bytes in pieces of at most `most`."""
    size = piece.size if isinstance(piece, FileSlice) else len(piece)
    if size <= most:
        yield piece
        return
    for start in range(0, size, most):
        if isinstance(piece, FileSlice):
            yield replace(piece, offset=piece.offset + start, size=min(most, size - start))
        else:
            yield piece[start : start + most]


def fingerprint(content: ByteMap) -> str | None:
    """What stands for these bytes before they are hashed: what their files are called where they come from, or else
    their states. `None` if one of them has neither."""
    digest = hashlib.sha256()
    for segment in content.segments():
        if isinstance(segment, FileRange) and segment.origin is not None:
            described = ["origin", segment.origin, segment.offset, segment.size]
        elif isinstance(segment, FileRange) and segment.stamp is not None:
            s = segment.stamp
            described = [str(segment.path), segment.offset, segment.size, s.inode, s.size, s.mtime_ns, s.ctime_ns]
        elif isinstance(segment, Literal):
            described = [segment.data.hex()]
        elif isinstance(segment, Zeros):
            described = [segment.size]
        else:
            return None
        digest.update(json.dumps(described).encode())
    return f"files:{digest.hexdigest()}"
