"""Maps of chunks, as they travel in headers."""

from __future__ import annotations

import base64
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_shim.peers.protocol import is_in_map, pack_map, unpack_map


@given(here=st.lists(st.booleans(), min_size=1, max_size=300))
def test_what_is_packed_is_what_is_unpacked(here: list[bool]) -> None:
    bits = unpack_map(pack_map(bytes(here)), len(here))
    assert bits is not None
    assert [is_in_map(bits, n) for n in range(len(here))] == here


def test_a_whole_blob_is_all() -> None:
    assert pack_map(b"\1" * 5000) == "all"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "?",
        "AAAA",
        base64.b64encode(zlib.compress(b"\1")).decode(),
        base64.b64encode(zlib.compress(b"\1\xff")).decode(),
        base64.b64encode(zlib.compress(bytes(1 << 20))).decode(),
    ],
    ids=["empty", "no-base64", "no-zlib", "short", "more-chunks", "bomb"],
)
def test_what_is_no_map_of_so_many_chunks(text: str) -> None:
    assert unpack_map(text, 12) is None
