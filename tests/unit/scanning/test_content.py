"""Contents as streams."""

from __future__ import annotations

import io

import pytest

from modelcar.scanning.content import literal


def test_a_content_can_be_read_as_a_file() -> None:
    data = bytes(range(256)) * 20
    stream = literal(data).part(10, 5000).stream()
    assert stream.read(5) == data[10:15]
    assert stream.seek(-3, io.SEEK_END) == 4997
    assert stream.read() == data[5007:5010]
    assert stream.seek(2) == 2
    assert stream.seek(1, io.SEEK_CUR) == 3
    assert stream.read(1) == data[13:14]
    assert stream.seek(9000) == 9000
    assert stream.read() == b""


def test_nothing_lies_before_the_start() -> None:
    stream = literal(b"abc").stream()
    with pytest.raises(ValueError, match="seek to -1"):
        stream.seek(-4, io.SEEK_END)
