"""A chunk table is the chunks that it was made of, in less memory."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelcar.errors import InvalidDocument
from modelcar.layers.chunktable import ChunkTable
from modelcar.layers.hashing import Chunk
from modelcar.oci import Digest

CHUNKS = [Chunk(offset=o, size=s, digest=Digest.of(b"%d" % o)) for o, s in ((0, 512), (512, 4096), (4608, 1))]


def test_it_reads_as_a_sequence() -> None:
    table = ChunkTable(iter(CHUNKS))
    assert list(table) == CHUNKS
    assert (len(table), table.size, list(table.starts)) == (3, 4609, [0, 512, 4608])
    assert (table[-1], table[1:], table[::-1]) == (CHUNKS[2], tuple(CHUNKS[1:]), tuple(CHUNKS[::-1]))
    assert CHUNKS[1] in table
    for outside in (3, -4):
        with pytest.raises(IndexError):
            table[outside]
    assert (len(ChunkTable([])), ChunkTable([]).size) == (0, 0)


def test_two_of_the_same_chunks_are_equal() -> None:
    assert ChunkTable(CHUNKS) == ChunkTable(tuple(CHUNKS))
    assert hash(ChunkTable(CHUNKS)) == hash(ChunkTable(CHUNKS))
    for other in (CHUNKS[:2], [*CHUNKS[:2], replace(CHUNKS[2], digest=CHUNKS[0].digest)]):
        assert ChunkTable(CHUNKS) != ChunkTable(other)
    split = [replace(CHUNKS[0], size=100), replace(CHUNKS[0], offset=100, size=412)]
    same_size = [replace(CHUNKS[0], size=200), replace(CHUNKS[0], offset=200, size=312)]
    assert ChunkTable(split) != ChunkTable(same_size)


@pytest.mark.parametrize(
    ("chunk", "problem"),
    [
        (replace(CHUNKS[1], offset=513), r"chunks\[1\] does not begin where"),
        (replace(CHUNKS[1], offset=511), r"chunks\[1\] does not begin where"),
        (replace(CHUNKS[1], size=0), r"chunks\[1\] is empty"),
        (replace(CHUNKS[1], digest=Digest.of(b"", "sha512")), r"chunks\[1\].digest is of another kind"),
    ],
)
def test_what_does_not_tile_is_none(chunk: Chunk, problem: str) -> None:
    with pytest.raises(InvalidDocument, match=problem):
        ChunkTable([CHUNKS[0], chunk])
