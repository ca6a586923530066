"""Who keeps a connection when there are too many, and clients that take their time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelcar.serving.connections import Connections, HeadReader, Slot, client_of
from modelcar.serving.pace import Pace
from modelcar.serving.settings import Limits

pytestmark = pytest.mark.slow


def admitted(connections: Connections, client: str, dropped: list[str] | None = None, name: str = "") -> Slot:
    slot = connections.admit(client)
    assert slot is not None
    slot.drop = lambda: dropped.append(name) if dropped is not None else None
    return slot


def test_the_one_that_is_idle_longest_gives_way() -> None:
    connections = Connections(Limits(connections=3, connections_per_client=3))
    dropped: list[str] = []
    first = admitted(connections, "a", dropped, "first")
    admitted(connections, "b", dropped, "second")
    admitted(connections, "c", dropped, "third")
    first.busy()
    first.idle()  # the latest to be idle now
    admitted(connections, "d")
    assert dropped == ["second"]
    assert len(connections) == 3


def test_a_client_with_too_many_loses_its_own() -> None:
    connections = Connections(Limits(connections=10, connections_per_client=2))
    dropped: list[str] = []
    admitted(connections, "other", dropped, "other")
    admitted(connections, "a", dropped, "first")
    admitted(connections, "a", dropped, "second")
    admitted(connections, "a")
    assert dropped == ["first"]


def test_who_is_answered_is_not_disturbed() -> None:
    connections = Connections(Limits(connections=2, connections_per_client=1))
    one, two = admitted(connections, "a"), admitted(connections, "b")
    one.busy()
    two.busy()
    assert connections.admit("a") is None
    assert connections.admit("c") is None
    one.release()
    one.release()
    assert len(connections) == 1
    assert connections.admit("c") is not None
    two.idle()
    assert connections.waiting[-1] is two


def test_a_connection_that_is_gone_does_not_wait_again() -> None:
    connections = Connections(Limits())
    slot = admitted(connections, "a")
    slot.busy()
    slot.release()
    slot.idle()
    assert (len(connections), connections.waiting) == (0, ())


@pytest.mark.parametrize(
    ("address", "client"),
    [
        (("10.0.0.1", 5), "10.0.0.1"),
        (("2001:db8::1:2", 5, 0, 0), "2001:db8::/64"),
        (("::ffff:10.0.0.1", 5, 0, 0), "10.0.0.1"),
        (("fe80::1%eth0", 5, 0, 2), "fe80::/64"),
        (("127.0.0.1", 5), ""),
        (("127.8.0.1", 5), ""),
        (("::1", 5, 0, 0), ""),
        (("::ffff:127.0.0.1", 5, 0, 0), ""),
        ("", ""),
        (b"", ""),
    ],
)
def test_whom_a_connection_is_counted_under(address: object, client: str) -> None:
    assert client_of(address) == client


class Steady(Pace):
    def __init__(self, rate: float) -> None:
        super().__init__()
        self._rate = rate

    def rate(self) -> float:
        return self._rate


def test_at_a_limit_the_slowest_gives_way_if_it_is_too_slow() -> None:
    connections = Connections(Limits(connections=4, connections_per_client=2, slow_rate=100))
    dropped: list[str] = []
    for client, name, rate in (("a", "slow", 50), ("a", "slower", 20), ("b", "fast", 200), ("c", "slowest", 10)):
        slot = admitted(connections, client, dropped, name)
        slot.busy()
        slot.pace = Steady(rate)
    admitted(connections, "a", dropped, "new").busy()
    assert dropped == ["slower"], "of its own"
    admitted(connections, "d", dropped, "other").busy()
    assert dropped == ["slower", "slowest"]
    connections.limits = Limits(connections=4, connections_per_client=9, slow_rate=50)
    assert connections.admit("d") is None, "nobody is that slow"
    assert len(connections) == 4


def test_on_this_machine_one_address_is_everybody() -> None:
    connections = Connections(Limits(connections=3, connections_per_client=1))
    for _ in range(3):
        admitted(connections, client_of(("127.0.0.1", 1))).busy()
    assert connections.admit("") is None


@given(st.binary(max_size=40), st.lists(st.integers(1, 7)))
def test_the_end_of_headers_is_found_however_they_are_cut(noise: bytes, cuts: list[int]) -> None:
    noise = b"G" + noise.replace(b"\n", b"")
    whole = b"\r\n" + noise + b"\r\n\r\n"
    reader = HeadReader()
    at = 0
    ends = []
    for cut in [*cuts, len(whole)]:
        piece = whole[at : at + cut]
        at += len(piece)
        if piece:
            ends.append((reader.feed(piece), at))
    assert [end for found, end in ends if found] == [len(whole)]
