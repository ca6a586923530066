"""Which source is asked, after what it did before."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from modelcar.errors import (
    DigestMismatch,
    Forbidden,
    InvalidContent,
    ProtocolViolation,
    RemoteNotFound,
    Unauthorized,
    Unreachable,
)
from modelcar.lazy.settings import FetchSettings
from modelcar.lazy.sources import SourceKind
from modelcar.lazy.standing import Standing
from modelcar.oci import Digest
from tests.support.chunks import MemorySource

PEER = MemorySource(b"", name="peer", kind=SourceKind.PEER)
MIRROR = MemorySource(b"", name="mirror", kind=SourceKind.MIRROR)
UPSTREAM = MemorySource(b"", name="upstream")
ALL = (PEER, MIRROR, UPSTREAM)
DOWN = Unreachable("down")
WRONG = DigestMismatch("wrong")


@pytest.fixture
def standing() -> Standing:
    return Standing(FetchSettings(attempts=3, backoff=1.0, backoff_limit=10.0))


def name(standing: Standing, number: int = 0, now: float = 0.0) -> str | None:
    source, error = standing.choose(ALL, number, now)
    if error is not None:
        raise error
    return source.name if source else None


def test_the_first_candidate_at_first(standing: Standing) -> None:
    assert name(standing) == "peer"


def test_one_that_broke_rests_and_comes_back(standing: Standing) -> None:
    standing.broke(PEER, DOWN, began=0, now=1)
    assert name(standing, now=1) == "mirror"
    assert name(standing, now=100) == "peer"


def test_streams_that_break_together_are_one_failure(standing: Standing) -> None:
    for _ in range(10):
        standing.broke(UPSTREAM, DOWN, began=0, now=1)
    assert standing.choose([UPSTREAM], 0, 1.0) == (None, None)
    assert standing.choose([UPSTREAM], 0, 3.0) == (UPSTREAM, None)


def test_when_all_have_failed_for_good_the_error_says_so(standing: Standing) -> None:
    for n in range(3):
        assert standing.choose([UPSTREAM], 0, 100.0 * n) == (UPSTREAM, None)
        standing.broke(UPSTREAM, DOWN, began=100.0 * n, now=100.0 * n)
    assert standing.choose([UPSTREAM], 0, 200.0) == (None, DOWN)
    standing.forget(200.0)
    assert standing.choose([UPSTREAM], 0, 200.0) == (UPSTREAM, None)


@pytest.mark.parametrize("error", [Unauthorized("no"), Forbidden("no"), RemoteNotFound("no")])
def test_some_errors_are_final_at_once(standing: Standing, error: Unauthorized) -> None:
    standing.broke(UPSTREAM, error, began=0, now=0)
    assert standing.choose([UPSTREAM], 0, 0.0) == (None, error)


@pytest.mark.parametrize("again", [Standing.forget, Standing.renew])
@pytest.mark.parametrize("error", [Unauthorized("no"), Forbidden("no"), RemoteNotFound("no")])
def test_refusals_of_what_was_asked_with_other_credentials_say_nothing(
    standing: Standing, error: Unauthorized, again: Callable[[Standing, float], None]
) -> None:
    standing.broke(UPSTREAM, error, began=1, now=2)
    again(standing, 3)
    assert standing.choose([UPSTREAM], 0, 3.0) == (UPSTREAM, None)
    standing.broke(UPSTREAM, error, began=1, now=4)
    assert standing.choose([UPSTREAM], 0, 4.0) == (UPSTREAM, None)
    standing.broke(UPSTREAM, error, began=3, now=5)
    assert standing.choose([UPSTREAM], 0, 5.0) == (None, error)


def test_other_credentials_make_nobody_reachable_or_honest(standing: Standing) -> None:
    standing.broke(PEER, DOWN, began=0, now=1)
    assert standing.lied(MIRROR, 0, Digest.of(b"x"), WRONG, 0, 1) is None
    standing.renew(1)
    assert name(standing, now=1) == "upstream"


def test_what_is_missing_everywhere_matters_less_than_what_was_refused(standing: Standing) -> None:
    refused, missing = Forbidden("no"), RemoteNotFound("not here")
    standing.broke(MIRROR, missing, began=0, now=0)
    standing.broke(UPSTREAM, refused, began=0, now=0)
    assert standing.choose([MIRROR, UPSTREAM], 0, 0.0) == (None, refused)
    assert standing.choose([UPSTREAM, MIRROR], 0, 0.0) == (None, refused)


def test_that_a_mirror_lied_matters_less_than_why_the_upstream_did_not_help(standing: Standing) -> None:
    standing.distrust("mirror", ProtocolViolation("other bytes"))
    for n in range(3):
        standing.broke(UPSTREAM, DOWN, began=100.0 * n, now=100.0 * n)
    assert standing.choose([MIRROR, UPSTREAM], 0, 200.0) == (None, DOWN)


def test_a_peer_without_one_chunk_may_have_another_and_this_one_later(standing: Standing) -> None:
    standing.has_not(PEER, 5, RemoteNotFound("not yet"), began=0, now=0)
    assert name(standing, 5) == "mirror"
    assert name(standing, 6) == "peer"
    assert name(standing, 5, now=60) == "peer"
    assert standing.choose([PEER], 5, 0.0) == (None, None)  # it may come: that is no reason to give up


def test_an_upstream_without_the_blob_does_not_get_it(standing: Standing) -> None:
    gone = RemoteNotFound("gone")
    standing.has_not(UPSTREAM, 5, gone, began=0, now=0)
    assert standing.choose([UPSTREAM], 6, 0.0) == (None, gone)


def test_a_slow_one_is_asked_after_others_and_still_before_nobody(standing: Standing) -> None:
    standing.was_slow(PEER, 1)
    assert name(standing, 1) == "mirror"
    assert name(standing, 2) == "peer"
    assert standing.choose([PEER], 1, 0.0) == (PEER, None)
    assert standing.abandoned(1) == 1
    standing.did_well(PEER, 1)
    assert name(standing, 1) == "peer"


def test_many_wrong_chunks_are_no_verdict_until_one_comes_twice(standing: Standing) -> None:
    """A table that lies makes every stream end with wrong bytes, and each chunk is wrong for the first time."""
    for n in range(9):
        now = 100.0 * n
        assert standing.choose([UPSTREAM], n, now) == (UPSTREAM, None)
        assert standing.lied(UPSTREAM, n, Digest.of(b"%d" % n), WRONG, now, now) is None
    assert isinstance(standing.lied(UPSTREAM, 4, Digest.of(b"4"), WRONG, 1000, 1000), InvalidContent)


def test_bytes_that_are_wrong_in_another_way_each_time_end_it(standing: Standing) -> None:
    for n in range(4):
        assert standing.lied(UPSTREAM, 0, Digest.of(b"%d" % n), WRONG, 100.0 * n, 100.0 * n) is None
    source, error = standing.choose([UPSTREAM], 0, 300.0)
    assert source is None
    assert isinstance(error, ProtocolViolation)


@pytest.mark.parametrize("liar", [PEER, MIRROR])
def test_liars_are_not_asked_again_not_even_after_all_is_forgotten(standing: Standing, liar: MemorySource) -> None:
    assert standing.lied(liar, 0, Digest.of(b"x"), WRONG, 0, 0) is None
    standing.forget(0.0)
    standing.did_well(liar, 3)
    source, error = standing.choose([liar], 7, 1000.0)
    assert source is None
    assert isinstance(error, ProtocolViolation)
    assert standing.choose([liar, UPSTREAM], 7, 1000.0) == (UPSTREAM, None)


def test_an_upstream_that_sends_the_same_other_bytes_twice_is_right(standing: Standing) -> None:
    assert standing.lied(UPSTREAM, 0, Digest.of(b"x"), WRONG, 0, 0) is None
    assert isinstance(standing.lied(UPSTREAM, 0, Digest.of(b"x"), WRONG, 9, 9), InvalidContent)


def test_one_that_sends_others_every_time_is_broken(standing: Standing) -> None:
    for n in range(3):
        assert standing.lied(UPSTREAM, 0, Digest.of(b"%d" % n), WRONG, 100 * n, 100 * n) is None
    assert isinstance(standing.choose([UPSTREAM], 0, 200.0)[1], ProtocolViolation)
