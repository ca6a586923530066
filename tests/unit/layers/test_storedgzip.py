"""Stored gzip: other programs unpack it, and every range of it is known without the rest."""

from __future__ import annotations

import gzip
import random
import zlib

import pytest

from modelcar.layers.storedgzip import BLOCK, gzip_member, member_size, members_size, pieces

BORDERS = [1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK - 1, 2 * BLOCK, 2 * BLOCK + 1, 200_000]


def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def crcs_of(data: bytes, member: int) -> bytes:
    return b"".join(zlib.crc32(data[at : at + member]).to_bytes(4, "little") for at in range(0, len(data), member))


def joined(data: bytes, member: int, start: int, stop: int) -> bytes:
    found = pieces(len(data), member, crcs_of(data, member), start, stop)
    return b"".join(data[piece.start : piece.stop] if isinstance(piece, range) else piece for piece in found)


@pytest.mark.parametrize("size", BORDERS)
def test_a_member_unpacks_and_has_the_size_that_was_foretold(size: int) -> None:
    member = gzip_member(content(size))
    assert gzip.decompress(member) == content(size)
    assert len(member) == member_size(size) == size + 18 + 5 * -(-size // 65_535)


@pytest.mark.parametrize("size", BORDERS)
def test_content_lies_where_arithmetic_says(size: int) -> None:
    data, member = content(size), gzip_member(content(size))
    for k in {0, size - 1, size // 2, min(size - 1, BLOCK), min(size - 1, BLOCK - 1)}:
        assert member[10 + 5 * (k // 65_535 + 1) + k] == data[k]


@pytest.mark.parametrize("member", [BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK])
@pytest.mark.parametrize("size", BORDERS)
def test_members_one_after_the_other(size: int, member: int) -> None:
    data = content(size)
    whole = joined(data, member, 0, members_size(size, member))
    assert whole == b"".join(gzip_member(data[at : at + member]) for at in range(0, size, member))
    assert gzip.decompress(whole) == data


def test_every_range_of_small_members() -> None:
    data = content(23)
    whole = joined(data, 7, 0, members_size(23, 7))
    for start in range(len(whole)):
        for stop in range(start, len(whole) + 1):
            assert joined(data, 7, start, stop) == whole[start:stop]


def test_ranges_around_every_border() -> None:
    data = content(3 * BLOCK + 10)
    member = 2 * BLOCK + 5
    whole = joined(data, member, 0, members_size(len(data), member))
    full = BLOCK + 5
    second = member_size(member)
    near = [0, 10, 15, 10 + full, 15 + full, 10 + 2 * full, 15 + 2 * full, second - 8, second, second + 15, len(whole)]
    places = sorted({place for at in near for place in range(at - 3, at + 4) if 0 <= place <= len(whole)})
    for start in places:
        for stop in places:
            if start <= stop:
                assert joined(data, member, start, stop) == whole[start:stop]


def test_only_the_checksum_depends_on_the_content() -> None:
    a, b = gzip_member(bytes(100)), gzip_member(b"x" * 100)
    assert (a[:15], a[-4:]) == (b[:15], b[-4:])
    assert a[-8:-4] != b[-8:-4]
