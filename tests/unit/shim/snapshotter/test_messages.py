"""Messages from any source: parsed right, or refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelcar.errors import InvalidDocument
from registry_shim.protobuf import decode, embedded, encode
from registry_shim.snapshotter.messages import Committing, Key, Listing, Preparing, Updating
from tests.support import protobufs

NUMBERS = st.integers(1, 2**28)
FIELDS = st.lists(st.tuples(NUMBERS, st.one_of(st.integers(1, 2**63), st.binary(min_size=1))))
PARSERS: list[Callable[[bytes], Any]] = [
    Preparing.parse,
    Committing.parse,
    Key.parse,
    Updating.parse,
    Listing.parse,
]


@given(FIELDS)
def test_another_reader_understands_what_is_written(fields: list[tuple[int, int | bytes]]) -> None:
    assert list(decode(encode(*fields))) == fields
    expected: protobufs.Read = {}
    for number, value in fields:
        expected.setdefault(number, []).append(value)
    assert protobufs.read(encode(*fields)) == expected


@given(FIELDS, st.floats(width=32, allow_nan=False))
def test_what_another_writer_wrote_is_understood(fields: list[tuple[int, int | bytes]], number: float) -> None:
    content = protobufs.message(*fields, (1, number))
    *others, last = decode(content)
    assert others == fields
    assert last == (1, content[-4:])


def test_an_empty_message_within_one_is_there() -> None:
    assert list(decode(embedded(7, b""))) == [(7, b"")]
    assert encode((1, ""), (2, 0), (3, None), (4, b"")) == b""


@pytest.mark.parametrize("parse", PARSERS)
@given(st.binary(max_size=200))
def test_nonsense_is_refused_or_means_something(parse: Callable[[bytes], Any], content: bytes) -> None:
    with suppress(InvalidDocument):
        assert parse(content) == parse(content)


@pytest.mark.parametrize(
    "content", [b"\x08", b"\x12\x05abc", b"\x0b", b"\xff" * 11, b"\x0d\0", b"\x09" + b"\0" * 7, b"\x12\x03a"]
)
def test_what_is_cut_off_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidDocument):
        list(decode(content))


@pytest.mark.parametrize("message", [[(2, 7)], [(2, "a"), (4, 7)], [(2, b"\xff")], [(1, "name only")]])
def test_fields_of_the_wrong_kind_are_refused(message: list[tuple[int, int | str | bytes]]) -> None:
    with pytest.raises(InvalidDocument):
        Preparing.parse(protobufs.message(*message))
