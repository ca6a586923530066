"""FlatBuffers read back by a reader that follows the format's description."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from modelcar.layers.soci.flatbuffer import FlatBuffer
from tests.support.flatbuffers import read_root


def test_the_smallest_buffer_byte_for_byte() -> None:
    buffer = FlatBuffer()
    data = buffer.finish(buffer.table({0: struct.pack("<i", 7)}))
    # root at 12, two bytes of filling, layout (6 bytes long, table of 8, field at 4), table (layout 6 bytes before), 7
    assert data.hex(" ", 4) == "0c000000 00000600 08000400 06000000 07000000"


def test_zeros_and_what_is_not_there_take_no_room() -> None:
    buffer = FlatBuffer()
    root = read_root(buffer.finish(buffer.table({0: bytes(8), 3: struct.pack("<q", -5)})))
    assert [root.scalar(n, "q", 11) for n in (0, 1, 3, 9)] == [11, 11, -5, 11]


def test_tables_with_the_same_fields_share_a_layout() -> None:
    def size(count: int) -> int:
        buffer = FlatBuffer()
        tables = [buffer.table({0: struct.pack("<i", i + 1), 1: struct.pack("<i", 9)}) for i in range(count)]
        return len(buffer.finish(buffer.table({0: buffer.references(tables)})))

    assert size(11) - size(10) == size(10) - size(9) == 3 * 4 + 4  # layout, two fields, and the reference to it


@given(st.lists(st.tuples(st.text(max_size=9), st.integers(-(2**63), 2**63 - 1), st.binary(max_size=9)), max_size=6))
def test_whatever_goes_in_comes_out(rows: list[tuple[str, int, bytes]]) -> None:
    buffer = FlatBuffer()
    tables = []
    for text, number, octets in rows:
        name, blob = buffer.string(text), buffer.octets(octets)
        tables.append(buffer.table({2: name, 0: struct.pack("<q", number), 1: struct.pack("<b", 3), 4: blob}))
    texts = buffer.references([buffer.string(text) for text, _, _ in rows])
    root = read_root(buffer.finish(buffer.table({0: buffer.references(tables), 1: texts})))
    assert root.texts(1) == [text for text, _, _ in rows]
    assert [(t.text(2), t.scalar(0, "q"), t.octets(4)) for t in root.tables(0)] == rows
    assert all(t.scalar(1, "b") == 3 for t in root.tables(0))
