"""What host and client say: every packet survives the way, and nothing else is taken for one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelcar.errors import InvalidDocument
from modelcar.mounts.link import packets
from modelcar.mounts.link.packets import Attach, Failed, Need, Packet, parse, to_bytes

TEXTS = st.text(max_size=200)
NUMBERS = st.integers(0, 2**62 - 1)
JSON = st.recursive(st.none() | st.integers() | st.text(), st.lists)
KINDS = sorted(packets._KINDS.values(), key=lambda kind: kind.__name__)


@st.composite
def any_packet(draw: st.DrawFn) -> Packet:
    kind = draw(st.sampled_from(KINDS))
    values: list[Any] = [draw(TEXTS if name == "str" else NUMBERS) for name in kind.__annotations__.values()]
    return kind(*values)


@given(any_packet())
def test_a_packet_survives_the_way(packet: Packet) -> None:
    raw = to_bytes(packet)
    assert parse(raw) == packet
    assert len(raw) < packets.LARGEST


@pytest.mark.slow
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_anything_else_is_refused_in_one_line(raw: bytes) -> None:
    try:
        packet = parse(raw)
    except InvalidDocument as e:
        refusal = str(e)
    else:
        assert parse(to_bytes(packet)) == packet
        return
    assert "\n" not in refusal


@pytest.mark.parametrize(
    "document",
    [
        ["need", 1, 2, 3],
        ["need", 1, 2, 3, 4, 5],
        ["need", 1, 2, 3, True],
        ["need", 1, 2, 3, -1],
        ["need", 1, 2, 3, 4.0],
        ["need", 1, 2, 3, 1 << 62],
        ["attach", 5],
        ["attach", "x" * 5000],
        ["nobody", 1],
        [],
        {"need": 1},
        [["need"], 1, 2, 3, 4],
    ],
)
def test_what_is_nearly_a_packet_is_refused(document: object) -> None:
    with pytest.raises(InvalidDocument):
        parse(json.dumps(document).encode())


def test_texts_are_cut_so_that_a_packet_stays_small() -> None:
    packet = parse(to_bytes(Failed(1, 5, "é" * 100_000)))
    assert isinstance(packet, Failed)
    assert packet.text == "é" * 4000
    assert parse(to_bytes(Attach("m"))) == Attach("m")
    assert parse(to_bytes(Need(1, 0, 4096, 8192))) == Need(1, 0, 4096, 8192)
