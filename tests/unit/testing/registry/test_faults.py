"""Faults come when they are due, once, and everything that moved is counted."""

from __future__ import annotations

import http.client
from hashlib import sha256

import pytest

from modelcar.testing.registry import Fault, Faults, MisbehavingRegistry, Wrong
from modelcar.testing.registry.faults import FaultPlan
from tests.unit.testing.registry.conftest import Start, ask, closing, location

pytestmark = pytest.mark.slow

CONTENT = bytes(range(256)) * 4096
DIGEST = f"sha256:{sha256(CONTENT).hexdigest()}"
BLOB = f"/v2/org/model/blobs/{DIGEST}"
GIB = 1 << 30


@pytest.fixture
def registry(start: Start) -> MisbehavingRegistry:
    registry = start("distribution")
    registry.put_blob(CONTENT)
    return registry


def test_an_answer_is_cut_where_it_is_to_be(registry: MisbehavingRegistry) -> None:
    registry.misbehave(Fault(wrong=Wrong.CUT, method="GET", after=100_001))
    with pytest.raises(http.client.IncompleteRead) as caught:
        ask(registry, "GET", BLOB)
    assert caught.value.partial == CONTENT[:100_001]
    assert ask(registry, "GET", BLOB).body == CONTENT
    counts = registry.counts()
    assert (counts.sent, counts.faults) == (100_001 + len(CONTENT), {"cut": 1})


def test_a_request_is_cut_and_what_came_is_kept(registry: MisbehavingRegistry) -> None:
    where = location(registry)
    registry.misbehave(Fault(wrong=Wrong.CUT, method="PATCH", after=100_001))
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        ask(registry, "PATCH", where, CONTENT)
    far = ask(registry, "GET", where)
    assert far.headers["Range"] == "0-100000"
    assert registry.counts().received == 100_001
    assert ask(registry, "PATCH", where, CONTENT[100_001:], {"Content-Range": "100001-1048575"}).status == 202
    assert ask(registry, "PUT", closing(where, DIGEST)).status == 201


@pytest.mark.parametrize("after", [0, 1000])
def test_a_status_says_when_to_come_back(registry: MisbehavingRegistry, after: int) -> None:
    where = location(registry)
    registry.misbehave(Fault(wrong=Wrong.STATUS, status=429, retry_after=7, path="/uploads/", after=after))
    answer = ask(registry, "PATCH", where, CONTENT[:2000])
    assert (answer.status, answer.headers["Retry-After"]) == (429, "7")
    assert ask(registry, "GET", where).headers["Range"] == f"0-{max(0, after - 1)}"


def test_a_byte_is_another_one(registry: MisbehavingRegistry) -> None:
    registry.misbehave(Fault(wrong=Wrong.WRONG_DIGEST, after=5))
    body = ask(registry, "GET", BLOB).body
    assert [n for n in range(len(CONTENT)) if body[n] != CONTENT[n]] == [5]
    registry.misbehave(Fault(wrong=Wrong.WRONG_DIGEST, method="PUT"))
    assert ask(registry, "PUT", closing(location(registry), DIGEST), CONTENT).status == 400


def test_a_session_is_lost(registry: MisbehavingRegistry) -> None:
    where = location(registry)
    registry.misbehave(Fault(wrong=Wrong.LOST_SESSION, method="PATCH", after=10))
    assert ask(registry, "PATCH", where, CONTENT[:20]).status == 404
    assert ask(registry, "GET", where).status == 404
    other = location(registry)
    registry.forget_sessions()
    assert ask(registry, "PUT", closing(other, DIGEST), CONTENT).status == 404


def test_a_redirect_and_an_expired_token_come_once(registry: MisbehavingRegistry) -> None:
    registry.misbehave(Fault(wrong=Wrong.REDIRECT), Fault(wrong=Wrong.EXPIRED_TOKEN, skip=1))
    assert [ask(registry, "GET", BLOB).status for _ in range(3)] == [307, 200, 401]


def test_faults_wait_for_the_request_that_they_fit(registry: MisbehavingRegistry) -> None:
    registry.misbehave(Fault(wrong=Wrong.STATUS, status=500, method="GET", path="/blobs/", skip=1, times=2))
    assert ask(registry, "HEAD", BLOB).status == 200
    assert [ask(registry, "GET", BLOB).status for _ in range(4)] == [200, 500, 500, 200]
    registry.misbehave(Fault(wrong=Wrong.STATUS, status=500))
    registry.behave()
    assert ask(registry, "GET", BLOB).status == 200


def test_the_journal_has_every_request(registry: MisbehavingRegistry) -> None:
    registry.misbehave(Fault(wrong=Wrong.DRIP, method="GET", rate=100 << 20))
    ask(registry, "GET", BLOB, headers={"Range": "bytes=0-9", "Authorization": "Bearer secret"})
    seen = registry.journal()[-1]
    assert (seen.method, seen.path, seen.status, seen.sent, seen.fault) == ("GET", BLOB, 206, 10, "drip")
    assert "secret" not in str(seen)
    registry.reset_counts()
    assert (registry.journal(), registry.counts().sent) == ([], 0)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT"])
def test_random_faults_are_as_many_as_asked_for_and_the_same_for_a_seed(method: str) -> None:
    def drawn(seed: int) -> list[tuple[int, Fault]]:
        plan = FaultPlan()
        plan.scatter(Faults(seed=seed, per_gib=20, wrongs=(Wrong.CUT, Wrong.DRIP)))
        found = ((n, plan.moved(GIB // 1000, method)) for n in range(100_000))
        return [(n, fault) for n, fault in found if fault is not None]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert 1800 < len(drawn(1)) < 2200


def test_what_cannot_happen_to_bytes_happens_to_the_next_request() -> None:
    plan = FaultPlan()
    plan.scatter(Faults(seed=1, per_gib=1e6, wrongs=(Wrong.REDIRECT,)))
    assert plan.moved(GIB, "GET") is None
    assert plan.for_request("GET", "/v2/", None, blob=False) is None
    fault = plan.for_request("GET", BLOB, 0, blob=False)
    assert fault is not None
    assert fault.wrong is Wrong.REDIRECT
    assert plan.for_request("GET", BLOB, 0, blob=False) is None
