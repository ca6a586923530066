"""Every dialect does what the table of registries says of it, seen by bare HTTP."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest

from modelcar.testing.registry import PROFILES, Profile, Sharing
from tests.unit.testing.registry.conftest import Start, ask, closing, location

pytestmark = pytest.mark.slow

CONTENT = bytes(range(256)) * 64
DIGEST = f"sha256:{sha256(CONTENT).hexdigest()}"
PATCH = {"Content-Type": "application/octet-stream"}
OPEN = {name: replace(profile, token_seconds=None) for name, profile in PROFILES.items()}


def test_a_profile_survives_its_journey_to_the_other_process() -> None:
    for profile in PROFILES.values():
        assert Profile.from_dict(profile.to_dict()) == profile


@pytest.mark.parametrize("name", sorted(set(PROFILES) - {"non-sticky"}))
def test_one_request_with_everything_is_taken(start: Start, name: str) -> None:
    registry = start(OPEN[name])
    answer = ask(registry, "PUT", closing(location(registry), DIGEST), CONTENT)
    assert answer.status == PROFILES[name].put_status
    assert registry.digests() == {DIGEST}
    assert registry.blob(DIGEST) == CONTENT
    assert registry.counts().received == len(CONTENT)


@pytest.mark.parametrize("name", ["distribution", "ghcr", "quay", "docker-hub"])
def test_pieces_are_taken_in_order_and_only_so(start: Start, name: str) -> None:
    registry = start(OPEN[name])
    where = location(registry)
    first = ask(registry, "PATCH", where, CONTENT[:1000], {**PATCH, "Content-Range": "0-999"})
    assert (first.status, first.headers["Range"]) == (202, "0-999")
    gap = ask(registry, "PATCH", first.headers["Location"], b"x", {**PATCH, "Content-Range": "2000-2000"})
    assert (gap.status, gap.headers["Range"]) == (416, "0-999")
    far = ask(registry, "GET", first.headers["Location"])
    assert (far.status, far.headers["Range"]) == (204, "0-999")
    last = ask(registry, "PATCH", far.headers["Location"], CONTENT[1000:])
    assert ask(registry, "PUT", closing(str(last.headers["Location"]), DIGEST)).status == 201
    assert registry.blob(DIGEST) == CONTENT


def test_what_is_not_its_digest_is_not_kept(start: Start) -> None:
    registry = start("distribution")
    answer = ask(registry, "PUT", closing(location(registry), DIGEST), CONTENT[:-1])
    assert (answer.status, registry.digests()) == (400, set())
    assert b"DIGEST_INVALID" in answer.body


@pytest.mark.parametrize(
    ("profile", "status"),
    [
        (OPEN["ghcr"], 416),
        (OPEN["put-only"], 405),
        (replace(OPEN["r2"], layer_limit=1 << 20), 413),
    ],
)
def test_a_piece_that_the_dialect_does_not_take(start: Start, profile: Profile, status: int) -> None:
    registry = start(profile)
    assert ask(registry, "PATCH", location(registry), bytes((4 << 20) + 1), PATCH).status == status


@pytest.mark.parametrize("name", ["gar", "ecr"])
def test_a_second_piece_where_there_may_be_one(start: Start, name: str) -> None:
    registry = start(OPEN[name])
    first = ask(registry, "PATCH", location(registry), CONTENT[:1000], PATCH)
    assert first.status == PROFILES[name].patch_status
    assert ask(registry, "PATCH", first.headers["Location"], CONTENT[1000:], PATCH).status == 400


def test_small_pieces_before_the_last_one(start: Start) -> None:
    registry = start(replace(OPEN["r2"], min_chunk=2000))
    opened = ask(registry, "POST", "/v2/org/model/blobs/uploads/")
    assert opened.headers["OCI-Chunk-Min-Length"] == "2000"
    first = ask(registry, "PATCH", opened.headers["Location"], CONTENT[:1000], PATCH)
    assert ask(registry, "PATCH", first.headers["Location"], CONTENT[1000:], PATCH).status == 400


def test_large_single_requests_are_refused_in_turn(start: Start) -> None:
    registry = start(replace(OPEN["docker-hub"], put_limit=100))
    statuses = [ask(registry, "PUT", closing(location(registry), DIGEST), CONTENT).status for _ in range(3)]
    assert statuses == [504, 400, 504]


def test_the_query_of_a_location_must_come_back(start: Start) -> None:
    registry = start(OPEN["no-resume"])
    where = location(registry)
    assert "?" in where
    assert ask(registry, "PATCH", where.partition("?")[0], CONTENT, PATCH).status == 403
    assert ask(registry, "GET", where).status == 404
    assert ask(registry, "PUT", closing(where, DIGEST), CONTENT).status == 201


def test_replicas_that_share_nothing_know_only_their_own_sessions(start: Start) -> None:
    registry = start("non-sticky")
    statuses = {ask(registry, "GET", location(registry)).status for _ in range(40)}
    assert statuses == {204, 404}
    whole = ask(registry, "POST", f"/v2/org/model/blobs/uploads/?digest={DIGEST}", CONTENT)
    assert (whole.status, registry.digests()) == (201, {DIGEST})


def test_replicas_that_share_the_first_piece(start: Start) -> None:
    registry = start(replace(PROFILES["artifactory"], patch_status=202))
    assert registry.profile.sharing is Sharing.FIRST_PIECE
    statuses = set()
    for _ in range(40):
        where = location(registry)
        assert ask(registry, "PATCH", where, CONTENT[:1000], PATCH).status == 202
        statuses.add(ask(registry, "PATCH", where, CONTENT[1000:], PATCH).status)
    assert statuses == {202, 404}


def test_mounting(start: Start) -> None:
    registry = start("distribution")
    digest = registry.put_blob(CONTENT, "org/base")
    assert ask(registry, "HEAD", f"/v2/org/model/blobs/{digest}").status == 404
    asked = f"/v2/org/model/blobs/uploads/?mount={digest}&from=org/base"
    assert ask(registry, "POST", asked).status == 201
    assert ask(registry, "HEAD", f"/v2/org/model/blobs/{digest}").status == 200
    assert (registry.counts().mounts, registry.counts().received) == (1, 0)


def test_ranges(start: Start) -> None:
    registry = start("distribution")
    digest = registry.put_blob(CONTENT)
    answer = ask(registry, "GET", f"/v2/org/model/blobs/{digest}", headers={"Range": "bytes=100-199"})
    assert (answer.status, answer.body) == (206, CONTENT[100:200])
    assert answer.headers["Content-Range"] == f"bytes 100-199/{len(CONTENT)}"
    beyond = ask(registry, "GET", f"/v2/org/model/blobs/{digest}", headers={"Range": f"bytes={len(CONTENT)}-"})
    assert beyond.status == 416
    assert registry.counts().sent == 100


def test_ranges_that_are_not_heeded(start: Start) -> None:
    registry = start("no-ranges")
    digest = registry.put_blob(CONTENT)
    answer = ask(registry, "GET", f"/v2/org/model/blobs/{digest}", headers={"Range": "bytes=100-199"})
    assert (answer.status, answer.body) == (200, CONTENT)


def test_the_other_host_wants_its_signature_and_no_other_login(start: Start) -> None:
    registry = start(OPEN["ghcr"])
    digest = registry.put_blob(CONTENT)
    lead = ask(registry, "GET", f"/v2/org/model/blobs/{digest}")
    there = str(lead.headers["Location"])
    assert lead.status == 307
    assert registry.elsewhere in there
    assert ask(registry, "GET", there).body == CONTENT
    assert ask(registry, "GET", there.partition("?")[0]).status == 403
    assert ask(registry, "GET", there, headers={"Authorization": "Bearer x"}).status == 400


def test_tokens_end(start: Start) -> None:
    registry = start("ghcr")
    challenge = ask(registry, "GET", "/v2/")
    assert (challenge.status, registry.elsewhere in challenge.headers["WWW-Authenticate"]) == (401, True)
    token = ask(registry, "GET", f"http://{registry.elsewhere}/token").body.decode().split('"')[3]
    login = {"Authorization": f"Bearer {token}"}
    assert ask(registry, "GET", "/v2/", headers=login).status == 200
    registry.revoke_tokens()
    assert ask(registry, "GET", "/v2/", headers=login).status == 401


def test_what_it_holds_outlives_its_process_and_its_sessions_do_not(start: Start) -> None:
    registry = start("distribution")
    address, where = registry.address, location(registry)
    registry.put_blob(CONTENT)
    registry.kill()
    registry.restart()
    assert (registry.address, registry.digests()) == (address, {DIGEST})
    assert ask(registry, "GET", where).status == 404
