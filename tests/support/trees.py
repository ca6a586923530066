"""Source files on disk for byte maps and layers, and Hypothesis strategies of what goes into them."""

from __future__ import annotations

import random
import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from hypothesis import strategies as st

from modelcar.files import FileStamp
from modelcar.layers.bytemap import ByteMap, FileRange, GzippedRange, Literal, Segment, Zeros
from modelcar.layers.storedgzip import BLOCK, gzip_member
from modelcar.layers.tar import Entry

__all__ = ["Source", "entries_of", "open_files", "paths", "random_tree", "segment_bytes", "segments_of", "trees"]


class Source:
    """A file of random bytes and its stamp."""

    def __init__(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.path = path
        self.content = content
        self.stamp = FileStamp.from_stat(path.stat())

    def settled(self) -> Source:
        """Wait for the next tick of the kernel's clock, so that any later change has another change time."""
        time.sleep(0.011)
        return self

    def range(self, offset: int = 0, size: int | None = None) -> FileRange:
        size = len(self.content) - offset if size is None else size
        return FileRange(path=self.path, offset=offset, size=size, stamp=self.stamp)


def random_tree(folder: Path, sizes: Mapping[str, int], *, seed: int = 0) -> dict[str, Source]:
    """Files of these sizes (bytes) under `folder`; the same seed gives the same bytes."""
    return {
        path: Source(folder / path, random.Random(f"{seed} {path}").randbytes(size)) for path, size in sizes.items()
    }


def entries_of(tree: Mapping[str, Source]) -> list[Entry]:
    return [Entry(path=path, content=source.range()) for path, source in tree.items()]


def open_files() -> int:
    """How many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def segments_of(sources: Sequence[Source]) -> st.SearchStrategy[list[Segment]]:
    """Byte maps' segments over these files: ranges of them, literals and zeros, empty ones too."""

    @st.composite
    def file_range(draw: st.DrawFn) -> FileRange:
        source = draw(st.sampled_from(sources))
        offset = draw(st.integers(0, len(source.content)))
        return source.range(offset, draw(st.integers(0, len(source.content) - offset)))

    @st.composite
    def gzipped(draw: st.DrawFn) -> GzippedRange:
        content = draw(file_range())
        data = segment_bytes(content)
        member = draw(st.sampled_from([1, 300, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK]))
        member = max(member, len(data) // 50 + 1)
        crcs = [zlib.crc32(data[at : at + member]).to_bytes(4, "little") for at in range(0, len(data), member)]
        return GzippedRange.of(content, member, b"".join(crcs))

    return st.lists(
        st.one_of(file_range(), gzipped(), st.binary(max_size=40).map(Literal), st.integers(0, 100_000).map(Zeros)),
        max_size=6,
    )


def segment_bytes(segment: Segment | ByteMap) -> bytes:
    """What a segment, or several, stand for, read in the most obvious way."""
    if isinstance(segment, ByteMap):
        return b"".join(map(segment_bytes, segment.segments()))
    if isinstance(segment, FileRange):
        return segment.path.read_bytes()[segment.offset : segment.offset + segment.size]
    if isinstance(segment, GzippedRange):
        data, member = segment_bytes(segment.content), segment.member
        members = b"".join(gzip_member(data[at : at + member]) for at in range(0, len(data), member))
        return members[segment.start : segment.stop]
    return segment.data if isinstance(segment, Literal) else b"\0" * segment.size


_part = st.one_of(
    st.sampled_from(["a", "b", "config.json", "a-b", "a.b", "é", "模型", "x" * 90, "y" * 100, "z" * 101, "é" * 60]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=8),
).filter(lambda part: part not in (".", "..") and not part.startswith(".wh."))
paths = st.lists(_part, min_size=1, max_size=4).map("/".join)
_sizes = st.one_of(
    st.sampled_from([0, 1, 511, 512, 513, 4096, (64 << 10) - 1, 64 << 10, (64 << 10) + 1, 70_000]),
    st.integers(0, 2000),
)


@st.composite
def trees(draw: st.DrawFn) -> list[Entry]:
    """Entries that build: no path is also a folder. Contents are literals and zeros, so that no file is needed."""
    chosen = draw(st.dictionaries(paths, _sizes, max_size=6))
    folders = {"/".join(path.split("/")[:i]) for path in chosen for i in range(1, path.count("/") + 1)}
    return [
        Entry(
            path=path,
            content=ByteMap([Literal(b"begin"), Zeros(size)])
            if draw(st.booleans())
            else Literal(bytes([size % 251]) * size),
            executable=draw(st.booleans()),
        )
        for path, size in chosen.items()
        if path not in folders
    ]
