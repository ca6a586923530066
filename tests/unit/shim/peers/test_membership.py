"""Members come and go, fail and recover."""

from __future__ import annotations

import pytest

from modelcar.errors import UsageError
from registry_shim.peers.health import State
from registry_shim.peers.members import Member, parse_members
from registry_shim.peers.membership import Membership
from registry_shim.peers.settings import PeerSettings

A, B, C = (Member(f"10.0.0.{n}", 5443) for n in (1, 2, 3))
MB = 1 << 20


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def membership(clock: Clock) -> Membership:
    membership = Membership(
        PeerSettings(listen=A.name, members=(B.name,), suspect_seconds=2, dead_after=3), clock=clock
    )
    membership.replace([A, B, C])
    return membership


@pytest.mark.parametrize(
    ("text", "member"),
    [
        ("10.0.0.7", Member("10.0.0.7", 5443)),
        ("Node-1:7000", Member("node-1", 7000)),
        ("10.0.0.7:7000=zone-a", Member("10.0.0.7", 7000, "zone-a")),
        ("[fd00::1]:7000", Member("fd00::1", 7000)),
        ("fd00::1=b", Member("fd00::1", 5443, "b")),
    ],
)
def test_members_are_written_as_addresses(text: str, member: Member) -> None:
    assert Member.parse(text) == member
    assert Member.parse(f"{member.name}={member.zone}") == member


@pytest.mark.parametrize("text", ["", ":7000", "a:b", "a:70000", "user@host", "http://host", "a b", "a:0"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"is not a peer|takes no credentials"):
        Member.parse(text)


def test_a_member_of_two_zones_is_refused() -> None:
    with pytest.raises(UsageError, match="different zones"):
        parse_members(["10.0.0.7=a", "10.0.0.7=b"])


def test_this_node_is_a_member_before_it_is_listed(membership: Membership) -> None:
    membership.replace([C])
    assert membership.ring() == (A, C)
    assert membership.get(B.name) is None


def test_this_nodes_zone_is_the_one_that_it_is_listed_with(membership: Membership) -> None:
    membership.replace([Member(A.host, A.port, "east")])
    assert membership.me.zone == "east"


def test_one_failure_makes_a_suspect_that_is_still_a_home(membership: Membership, clock: Clock) -> None:
    membership.failed(B)
    assert membership.state(B) is State.SUSPECT
    assert B in membership.ring()
    clock.now += 2.6
    assert membership.state(B) is State.LIVE


def test_failures_in_a_row_take_it_out_until_a_trial_succeeds(membership: Membership, clock: Clock) -> None:
    for _ in range(3):
        membership.failed(B)
    assert membership.state(B) is State.DEAD
    assert membership.ring() == (A, C)
    assert membership.trials() == []
    clock.now += 10.1
    assert membership.trials() == [B]
    membership.failed(B)
    assert membership.trials() == []
    clock.now += 20.1
    assert membership.trials() == [B]
    membership.succeeded(B)
    assert membership.ring() == (A, B, C)


def test_a_success_between_failures_forgives_them(membership: Membership) -> None:
    for _ in range(5):
        membership.failed(B)
        membership.succeeded(B)
    assert membership.state(B) is State.LIVE


def test_a_liar_is_out_for_long_whatever_else_it_does_well(membership: Membership, clock: Clock) -> None:
    membership.lied(B)
    membership.succeeded(B, 10 * MB, 0.1)
    assert membership.state(B) is State.BANNED
    assert B not in membership.ring()
    assert membership.trials() == []
    clock.now += 3601
    assert B in membership.ring()


def test_who_left_and_comes_back_starts_anew(membership: Membership) -> None:
    for _ in range(3):
        membership.failed(B)
    membership.replace([A, C])
    membership.replace([A, B, C])
    assert membership.state(B) is State.LIVE


def test_slow_is_who_is_much_slower_than_the_others(membership: Membership) -> None:
    membership.succeeded(B, MB, 1.0)
    assert not membership.is_slow(B)
    membership.succeeded(C, 10 * MB, 1.0)
    assert membership.is_slow(B)
    assert not membership.is_slow(C)


def test_reliable_are_the_others_that_are_neither_failing_nor_slow(membership: Membership, clock: Clock) -> None:
    assert membership.reliable() == {B, C}
    membership.failed(B)
    assert membership.reliable() == {C}
    clock.now += 3
    assert membership.reliable() == {B, C}
    membership.succeeded(B, MB, 1.0)
    membership.succeeded(C, 10 * MB, 1.0)
    assert membership.reliable() == {C}


def test_an_answer_is_given_up_if_it_comes_much_slower_than_others(membership: Membership) -> None:
    assert not membership.lags(B, MB, 10.0)
    membership.succeeded(C, 10 * MB, 1.0)
    assert not membership.lags(B, 0, 2.0)
    assert not membership.lags(B, 3 * MB, 3.0)
    assert not membership.is_slow(B)
    assert membership.lags(B, MB, 3.0)
    assert membership.is_slow(B)
    assert not membership.lags(C, MB, 3.0)


def test_small_answers_say_nothing_about_a_rate(membership: Membership) -> None:
    membership.succeeded(B, 100, 1.0)
    membership.succeeded(C, 10 * MB, 1.0)
    assert not membership.is_slow(B)


def test_settings_want_one_source_of_members() -> None:
    with pytest.raises(UsageError, match="exactly one"):
        PeerSettings()
    with pytest.raises(UsageError, match="exactly one"):
        PeerSettings(members=("a",), dns="b:1")
    with pytest.raises(UsageError, match="hold_seconds"):
        PeerSettings(members=("a",), hold_seconds=0)
