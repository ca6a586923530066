"""What a reader does when the files underneath change; what it reads is in `tests/property/test_layers.py`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from modelcar.errors import SourceChanged, StorageError
from modelcar.layers.bytemap import ByteMap, ByteReader, FileSlice, Literal, Zeros
from tests.support.changes import CHANGES, replace_by_copy, rewrite, touch
from tests.support.trees import Source, open_files

SIZE = 1 << 20


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path / "shard", os.urandom(SIZE)).settled()


@pytest.fixture
def content(source: Source) -> ByteMap:
    return ByteMap([Literal(b"head"), source.range(), Zeros(100)])


def drain(reader: ByteReader) -> None:
    with reader:
        while reader.read(100_000):
            pass


def drain_slices(reader: ByteReader) -> None:
    with reader:
        for _ in reader.slices():
            pass


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("drained", [drain, drain_slices])
def test_a_change_before_the_first_byte(
    source: Source, content: ByteMap, change: Callable[[Path], object], drained: Callable[[ByteReader], None]
) -> None:
    change(source.path)
    with pytest.raises(SourceChanged, match="shard"):
        content.check()
    with content.open() as reader:
        assert reader.read(4) == b"head"
        with pytest.raises(SourceChanged, match="shard"):
            reader.read(1)
    with pytest.raises(SourceChanged, match="shard"):
        drained(content.open(5, 1))


IN_PLACE = [
    *(touch, Path.unlink),
    lambda path: os.truncate(path, SIZE // 2),
    lambda path: os.truncate(path, SIZE + 1),
    rewrite,
    replace_by_copy,
]


@pytest.mark.parametrize("change", IN_PLACE)
def test_a_change_in_mid_read_is_noticed_before_the_last_byte_is_returned(
    source: Source, content: ByteMap, change: Callable[[Path], object]
) -> None:
    with content.open() as reader:
        passed = [reader.read(1000)]
        change(source.path)
        with pytest.raises(SourceChanged, match="shard"):
            passed.extend(iter(lambda: reader.read(100_000), b""))
    assert sum(map(len, passed)) < SIZE + 4


def test_a_change_while_the_kernel_moves_a_slice(source: Source, content: ByteMap) -> None:
    with content.open() as reader:
        slices = reader.slices()
        assert next(slices) == b"head"
        assert isinstance(next(slices), FileSlice)
        touch(source.path)
        with pytest.raises(SourceChanged):
            next(slices)


def test_check_opens_every_file(tmp_path: Path) -> None:
    sources = [Source(tmp_path / str(i), b"x") for i in range(3)]
    content = ByteMap([s.range() for s in sources])
    content.check()
    sources[2].path.unlink()
    with pytest.raises(SourceChanged):
        content.check()


def test_readers_leave_no_file_open(content: ByteMap, source: Source) -> None:
    before = open_files()
    drain(content.open())
    drain_slices(content.open())
    with content.open() as reader:
        reader.read(10)
    reader.close()
    assert open_files() == before


def test_one_file_in_many_segments_is_opened_once(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    real = os.open

    def spy(path: Path, flags: int) -> int:
        opened.append(path)
        return real(path, flags)

    monkeypatch.setattr(os, "open", spy)
    drain(ByteMap([source.range(i * 10, 10) for i in range(50)]).open())
    assert opened == [source.path]


def test_content_of_a_store_needs_no_stamp(source: Source) -> None:
    content = ByteMap.of_file(source.path, SIZE)
    content.check()
    with content.open(SIZE - 5) as reader:
        assert reader.read() == source.content[-5:]
    source.path.unlink()
    with pytest.raises(StorageError, match="cannot read"):
        drain(content.open())


def test_short_reads_are_repeated(content: ByteMap, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, views, offset: real(fd, [views[0][:1000]], offset))
    with content.open() as reader:
        assert reader.read() == b"head" + source.content + bytes(100)


def test_equality_is_of_segments(source: Source) -> None:
    maps = [ByteMap([Literal(b"a"), Zeros(0), source.range()]), ByteMap([Literal(b"a"), source.range()])]
    assert maps[0] == maps[1]
    assert len(set(maps)) == 1
    assert maps[0] != ByteMap([Literal(b"a")])
    assert repr(maps[0]) == f"ByteMap(2 segments, {SIZE + 1} bytes)"
