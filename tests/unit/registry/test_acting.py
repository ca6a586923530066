"""A client that acts for somebody else, and one whose registry is elsewhere than its name says."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelcar.errors import RateLimited, Unauthorized
from modelcar.oci import Digest, Reference
from modelcar.registry.credentials import Login
from tests.support.scripted_registry import Reply, ScriptedRegistry, TokenService

from .conftest import Client, ask_for_login, blob, reference

pytestmark = pytest.mark.slow

MANIFEST = b'{"schemaVersion":2,"anything":"at all"}'
NAMED = Reference.parse("registry.example/org/model:v1")


@pytest.fixture
def stocked(server: ScriptedRegistry) -> ScriptedRegistry:
    server.manifests["org/model", "v1"] = ("application/vnd.example+json", MANIFEST)
    return server


def test_a_document_of_any_kind_is_returned_as_it_is(stocked: ScriptedRegistry, client: Client) -> None:
    descriptor, content = client().document(reference(stocked))
    assert content == MANIFEST
    assert (descriptor.media_type, descriptor.size) == ("application/vnd.example+json", len(MANIFEST))
    assert descriptor.digest == Digest.of(MANIFEST)


def test_the_header_of_somebody_else_goes_along_as_it_is(
    stocked: ScriptedRegistry, client: Client, tmp_path: Path
) -> None:
    logins = ask_for_login(stocked, tmp_path)
    ours = client(docker_config=logins)
    theirs = ours.acting_as("Basic dTpw")
    assert theirs.document(reference(stocked))[1] == MANIFEST
    assert len(stocked.requests("GET", "/manifests/")) == 1  # without having to be asked for it


def test_our_login_is_not_used_for_others(stocked: ScriptedRegistry, client: Client, tmp_path: Path) -> None:
    ours = client(docker_config=ask_for_login(stocked, tmp_path))
    assert ours.document(reference(stocked))[1] == MANIFEST
    for header in ("Basic eDp5", "Bearer foreign-token"):
        with pytest.raises(Unauthorized) as refused:
            ours.acting_as(header).document(reference(stocked))
        assert refused.value.challenge == 'Basic realm="x"'
        assert header.partition(" ")[2] not in str(refused.value)
    with pytest.raises(Unauthorized):
        ours.acting_as("").document(reference(stocked))
    assert "Basic dTpw" not in [r.headers.get("Authorization") for r in stocked.requests("GET", "/manifests/")[2:]]


def test_a_given_login_is_used_and_no_other(stocked: ScriptedRegistry, other: ScriptedRegistry, client: Client) -> None:
    service = TokenService(stocked, other)
    service.users["theirs"] = "their-password"
    ours = client()
    assert ours.logged_in_as(Login("theirs", "their-password")).document(reference(stocked))[1] == MANIFEST
    assert [r.headers.get("Authorization") for r in service.asked] == [Login("theirs", "their-password").basic]
    with pytest.raises(Unauthorized) as refused:
        ours.logged_in_as(Login("theirs", "not-their-password")).document(reference(stocked))
    assert "not-their-password" not in str(refused.value)


def test_logged_in_as_nobody_uses_no_login(stocked: ScriptedRegistry, client: Client, tmp_path: Path) -> None:
    ours = client(docker_config=ask_for_login(stocked, tmp_path))
    assert ours.document(reference(stocked))[1] == MANIFEST
    with pytest.raises(Unauthorized):
        ours.logged_in_as(None).document(reference(stocked))


def test_a_challenge_to_somebody_else_is_not_answered(
    stocked: ScriptedRegistry, other: ScriptedRegistry, client: Client
) -> None:
    service = TokenService(stocked, other)
    with pytest.raises(Unauthorized) as refused:
        client().acting_as("Bearer stale").document(reference(stocked))
    assert service.asked == []
    assert refused.value.challenge is not None
    assert 'scope="repository:org/model:pull"' in refused.value.challenge


def test_anybody_gets_an_anonymous_token(stocked: ScriptedRegistry, other: ScriptedRegistry, client: Client) -> None:
    service = TokenService(stocked, other)
    anybody = client().acting_as("")
    assert anybody.document(reference(stocked))[1] == MANIFEST
    anybody.document(reference(stocked))
    assert len(service.asked) == 1


def test_the_first_challenge_is_told_where_anonymous_tokens_do_not_suffice(
    stocked: ScriptedRegistry, other: ScriptedRegistry, client: Client
) -> None:
    service = TokenService(stocked, other)
    service.users = {"": "not for anybody"}
    with pytest.raises(Unauthorized) as refused:
        client().acting_as("").document(reference(stocked))
    assert refused.value.challenge is not None
    assert refused.value.challenge.startswith('Bearer realm="')

    service.users = {"": ""}
    again = Reply(401, {"WWW-Authenticate": 'Bearer realm="https://x.example/",error="insufficient_scope"'})
    check = stocked.guard
    stocked.guard = lambda request: again if "Authorization" in request.headers else check(request)
    with pytest.raises(Unauthorized) as refused:
        client().acting_as("").document(reference(stocked))
    assert refused.value.challenge is not None
    assert "error=" not in refused.value.challenge


def test_a_registry_that_is_not_where_its_name_says(stocked: ScriptedRegistry, client: Client) -> None:
    assert client(address=f"{stocked.url}/").document(NAMED)[1] == MANIFEST
    assert "ns" not in stocked.requests("GET", "/manifests/")[0].query


def test_a_mirror_is_told_which_registry_is_meant(stocked: ScriptedRegistry, client: Client) -> None:
    mirror = client(address=stocked.url, namespace=True)
    descriptor, content = blob(1000)
    stocked.blobs[str(descriptor.digest)] = content
    assert list(mirror.tags(NAMED)) == ["v1"]
    with mirror.open_blob(NAMED, descriptor) as stream:
        assert stream.read() == content
    asked = stocked.requests("GET", "/v2/org/")
    assert [r.query["ns"] for r in asked] == ["registry.example"] * 2
    assert asked[0].query["n"] == "1000"


def test_how_long_to_wait_is_told(stocked: ScriptedRegistry, client: Client) -> None:
    stocked.on("GET", "/manifests/", Reply(429, {"Retry-After": "7"}))
    with pytest.raises(RateLimited) as refused:
        client(attempts=1).document(reference(stocked))
    assert refused.value.retry_after == 7
