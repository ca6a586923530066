"""Private stays private: who may read what, whose credentials are used for it, and that none of them is ever shown."""

from __future__ import annotations

import base64
import json
import logging
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelcar.oci import Digest
from registry_shim.mirror.settings import Access, MirrorSettings, UpstreamSettings
from registry_shim.testing import running_mirror
from tests.support.scripted_registry import Reply, Request, ScriptedRegistry, TokenService, error
from tests.unit.shim.api import Answer

from .conftest import HOST, REPO, Client, MakeMirror, publish

pytestmark = pytest.mark.slow

SECRET = "c2VjcmV0LXRva2Vu"
CHALLENGE = f'Bearer realm="https://auth.example/token",service="{HOST}",scope="repository:{REPO}:pull"'


class Guard:
    """`tokens` may read the repositories named, anybody those of `""`."""

    def __init__(self, upstream: ScriptedRegistry, **tokens: str) -> None:
        self.tokens = {name: value.split() for name, value in tokens.items()}
        self.public: set[str] = set()
        self.asked = 0
        self.challenge = CHALLENGE
        upstream.guard = self

    def __call__(self, request: Request) -> Reply | None:
        self.asked += 1
        repository = request.path.removeprefix("/v2/").partition("/manifests/")[0].partition("/blobs/")[0]
        repository = repository.partition("/tags/")[0].partition("/referrers/")[0]
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if repository in self.public or repository in self.tokens.get(token, ()):
            return None
        if token in self.tokens:
            return error(403, "DENIED", "not yours")
        return Reply(401, {"WWW-Authenticate": self.challenge}, b"{}")


@pytest.fixture
def guard(upstream: ScriptedRegistry) -> Guard:
    """One repository that one token may read."""
    publish(upstream)
    publish(upstream, repo="org/other")
    guard = Guard(upstream)
    guard.tokens = {SECRET: [REPO], "lesser-token": ["org/other"]}
    return guard


@pytest.fixture(autouse=True)
def _no_secret_in_the_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.DEBUG, "registry_shim"):
        yield
    shown = " ".join(record.getMessage() for record in caplog.records if record.name.startswith("registry_shim"))
    for secret in (SECRET, "lesser-token", "hunter2", base64.b64encode(b"node:hunter2").decode()):
        assert secret not in shown


def bearer(token: str = SECRET) -> str:
    return f"Bearer {token}"


def layer(upstream: ScriptedRegistry) -> Digest:
    return Digest.parse(max(upstream.blobs, key=lambda digest: len(upstream.blobs[digest])))


def assert_challenged(answer: Answer) -> None:
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == CHALLENGE
    assert answer.code == "UNAUTHORIZED"


def test_the_upstreams_challenge_is_passed_on_as_it_is(
    mirror: MakeMirror, upstream: ScriptedRegistry, guard: Guard
) -> None:
    client = mirror(refused_seconds=0)
    for path in ("manifests/v1", f"blobs/{layer(upstream)}", "tags/list", f"referrers/{layer(upstream)}"):
        assert_challenged(client.get(f"{REPO}/{path}"))


def test_a_token_server_that_is_down_takes_nothing_from_anybody(
    mirror: MakeMirror, upstream: ScriptedRegistry, guard: Guard
) -> None:
    guard.public.add(REPO)
    client = mirror(access_seconds=0, tag_seconds=0)
    assert client.manifest("v1").status == 200
    guard.public.clear()  # from now on anybody needs a token, and nobody resolves auth.example
    assert client.manifest("v1").headers["warning"].startswith("110 ")
    assert_challenged(client.manifest("v2"))


def test_the_clients_token_decides(mirror: MakeMirror, upstream: ScriptedRegistry, guard: Guard) -> None:
    client = mirror()
    assert client.manifest("v1", Authorization=bearer()).status == 200
    assert client.blob(layer(upstream), Authorization=bearer()).status == 200
    assert client.get(f"{REPO}/tags/list", Authorization=bearer()).json["tags"] == ["v1"]


def test_what_is_cached_is_not_for_everyone(mirror: MakeMirror, upstream: ScriptedRegistry, guard: Guard) -> None:
    client = mirror()
    digest = client.manifest("v1", Authorization=bearer()).headers["docker-content-digest"]
    blob = layer(upstream)
    assert client.blob(blob, Authorization=bearer()).status == 200
    for path in ("manifests/v1", f"manifests/{digest}", f"blobs/{blob}", "tags/list", f"referrers/{digest}"):
        for method in ("GET", "HEAD"):
            anybody = client.get(f"{REPO}/{path}", method=method)
            assert anybody.status == 401
            assert anybody.headers["www-authenticate"] == CHALLENGE
            wrong = client.get(f"{REPO}/{path}", method=method, Authorization=bearer("wrong"))
            assert wrong.status == 401
            lesser = client.get(f"{REPO}/{path}", method=method, Authorization=bearer("lesser-token"))
            assert lesser.status == 403


@pytest.mark.parametrize("token", ["", "Bearer lesser-token"])
def test_a_registry_that_hides_what_one_may_not_read(
    mirror: MakeMirror, upstream: ScriptedRegistry, guard: Guard, token: str
) -> None:
    """To whom it says "there is nothing", it has not said that they may read what is there."""
    upstream.guard = lambda request: error(404, "NAME_UNKNOWN") if guard(request) is not None else None
    client, image = mirror(), layer(upstream)
    mine, theirs = {"Authorization": bearer()}, {"Authorization": token} if token else {}
    manifest = client.manifest("v1", **mine)
    assert client.blob(image, **mine).status == 200
    digest = manifest.headers["docker-content-digest"]
    assert client.get(f"{REPO}/referrers/{digest}", **theirs).json["manifests"] == []
    assert client.blob(image, **theirs).status == 404
    assert client.manifest(digest, **theirs).status == 404


def test_a_mirror_that_asks_nobody_opens_nothing(
    mirror: MakeMirror, upstream: ScriptedRegistry, other: ScriptedRegistry, guard: Guard
) -> None:
    """As Spegel does: it has layers of private images, and gives them to whoever asks."""
    publish(other)
    image = layer(upstream)
    client = mirror({"urls": (other.url, upstream.url)})
    for _ in range(2):
        assert_challenged(client.manifest("v1"))
        assert_challenged(client.blob(image))
        assert_challenged(client.get(f"{REPO}/tags/list"))
        assert client.manifest("v1", Authorization=bearer()).status == 200
        assert client.blob(image, Authorization=bearer()).body == upstream.blobs[str(image)]
    assert not upstream.requests("GET", "/blobs/")  # their bytes may come from anywhere


def test_a_token_for_one_repository_is_none_for_another(
    mirror: MakeMirror, upstream: ScriptedRegistry, guard: Guard
) -> None:
    client = mirror()
    assert client.manifest("v1", Authorization=bearer()).status == 200
    assert client.manifest("v1", "org/other", Authorization=bearer()).status == 403
    assert client.manifest("v1", "org/other", Authorization=bearer("lesser-token")).status == 200


def test_the_answer_is_kept_for_a_while(mirror: MakeMirror, upstream: ScriptedRegistry, guard: Guard) -> None:
    client = mirror()
    blob = layer(upstream)
    client.manifest("v1", Authorization=bearer())
    client.blob(blob, Authorization=bearer())
    before = guard.asked
    for _ in range(5):
        assert client.manifest("v1", Authorization=bearer()).status == 200
        assert client.blob(blob, Authorization=bearer()).status == 200
    assert guard.asked == before


def test_and_then_asked_for_again(mirror: MakeMirror, upstream: ScriptedRegistry, guard: Guard) -> None:
    client = mirror(access_seconds=0, refused_seconds=0)
    digest = client.manifest("v1", Authorization=bearer()).headers["docker-content-digest"]
    assert client.manifest(digest, Authorization=bearer()).status == 200
    assert client.blob(layer(upstream), Authorization=bearer()).status == 200
    guard.tokens[SECRET] = []  # taken back
    assert client.manifest(digest, Authorization=bearer()).status == 403
    assert client.blob(layer(upstream), Authorization=bearer()).status == 403


def test_a_no_is_kept_for_a_while_too(mirror: MakeMirror, upstream: ScriptedRegistry, guard: Guard) -> None:
    client = mirror(refused_seconds=100)
    for _ in range(5):
        assert client.manifest("v1", Authorization=bearer("wrong")).status == 401
    assert guard.asked == 1
    assert client.manifest("v1", Authorization=bearer()).status == 200


def test_answers_do_not_fill_the_memory(mirror: MakeMirror, upstream: ScriptedRegistry, guard: Guard) -> None:
    client = mirror(remembered=2, refused_seconds=100)
    for i in range(4):
        client.manifest("v1", Authorization=bearer(f"wrong-{i}"))
    before = guard.asked
    client.manifest("v1", Authorization=bearer("wrong-0"))
    assert guard.asked == before + 1


def test_what_anybody_may_read_needs_no_token(mirror: MakeMirror, upstream: ScriptedRegistry, guard: Guard) -> None:
    guard.public.add(REPO)
    client = mirror()
    assert client.manifest("v1").status == 200
    assert client.blob(layer(upstream)).status == 200
    upstream.close()
    for header in ({}, {"Authorization": bearer("any-token")}):
        assert client.manifest("v1", **header).status == 200
        assert client.blob(layer(upstream), **header).status == 200


def test_nor_does_it_with_a_registry_that_hands_tokens_to_anybody(
    mirror: MakeMirror, upstream: ScriptedRegistry, other: ScriptedRegistry
) -> None:
    publish(upstream)
    service = TokenService(upstream, other)
    client = mirror()
    assert client.manifest("v1").status == 200
    assert client.blob(layer(upstream)).status == 200
    assert len(service.asked) == 1


def test_what_is_no_longer_for_anybody(mirror: MakeMirror, upstream: ScriptedRegistry, guard: Guard) -> None:
    guard.public.add(REPO)
    client = mirror(access_seconds=0, refused_seconds=0, tag_seconds=0)
    assert client.manifest("v1").status == 200
    guard.challenge = 'Basic realm="theirs"'
    guard.public.clear()
    assert client.manifest("v1").headers["www-authenticate"] == 'Basic realm="theirs"'
    upstream.close()
    assert client.manifest("v1").status in (503, 504)


@pytest.mark.parametrize("seen_by", ["blob", "tag", "digest"])
def test_what_is_hidden_from_now_on_is_not_for_anybody_while_the_upstream_is_gone(
    mirror: MakeMirror, upstream: ScriptedRegistry, seen_by: str
) -> None:
    publish(upstream)
    image, client = layer(upstream), mirror(access_seconds=0, tag_seconds=0, missing_seconds=0)
    manifest = client.manifest("v1")
    digest = manifest.headers["docker-content-digest"]
    assert manifest.status == client.blob(image).status == 200
    upstream.guard = lambda _: error(404, "NAME_UNKNOWN")
    asked = {"blob": f"blobs/{image}", "tag": "manifests/v1", "digest": f"manifests/{digest}"}
    assert client.get(f"{REPO}/{asked[seen_by]}").status == 404
    upstream.close()
    assert client.blob(image).status in (503, 504)
    assert client.manifest(digest).status in (503, 504)


@pytest.mark.parametrize("grace", [0.0, 1000.0])
def test_a_token_that_cannot_be_checked(
    mirror: MakeMirror, upstream: ScriptedRegistry, guard: Guard, grace: float
) -> None:
    client = mirror(access_seconds=0, grace_seconds=grace)
    client.manifest("v1", Authorization=bearer())
    client.blob(layer(upstream), Authorization=bearer())
    upstream.close()
    expected = {200} if grace else {503, 504}
    assert client.manifest("v1", Authorization=bearer()).status in expected
    assert client.blob(layer(upstream), Authorization=bearer()).status in expected
    assert client.manifest("v1", Authorization=bearer("wrong")).status in (503, 504)
    assert client.manifest("v1").status in (503, 504)


def test_an_answer_that_is_still_believed_outlives_the_upstream(
    mirror: MakeMirror, upstream: ScriptedRegistry, guard: Guard
) -> None:
    client = mirror(tag_seconds=0)
    client.manifest("v1", Authorization=bearer())
    client.blob(layer(upstream), Authorization=bearer())
    upstream.close()
    assert client.manifest("v1", Authorization=bearer()).status == 200
    assert client.blob(layer(upstream), Authorization=bearer()).status == 200
    assert client.manifest("v1", Authorization=bearer("wrong")).status in (503, 504)


def test_tokens_are_not_kept_on_disk(upstream: ScriptedRegistry, guard: Guard, tmp_path: Path) -> None:
    settings = MirrorSettings(upstreams=(UpstreamSettings(registry=HOST, urls=(upstream.url,), timeout=5.0),))
    root = tmp_path / "root"
    with running_mirror(settings, root) as address:
        client = Client(address)
        client.manifest("v1", Authorization=bearer())
        client.blob(layer(upstream), Authorization=bearer())
    for path in root.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes()
    upstream.close()
    with running_mirror(settings, root) as address:
        assert Client(address).manifest("v1", Authorization=bearer()).status in (503, 504)
        assert Client(address).blob(layer(upstream), Authorization=bearer()).status in (503, 504)


def test_the_front_door(mirror: MakeMirror, upstream: ScriptedRegistry, guard: Guard) -> None:
    client = mirror()
    assert_challenged(client.get(""))
    assert client.get("", Authorization=bearer()).status == 200
    assert Client(client.address, None).get("").status == 200
    upstream.close()
    assert client.get("").status == 200


def logins(folder: Path, name: str = HOST) -> Path:
    path = folder / "logins.json"
    auth = base64.b64encode(b"node:hunter2").decode()
    path.write_text(json.dumps({"auths": {name: {"auth": auth}}}))
    return path


def ask_for_password(upstream: ScriptedRegistry) -> None:
    expected = f"Basic {base64.b64encode(b'node:hunter2').decode()}"

    def check(request: Request) -> Reply | None:
        if request.headers.get("Authorization") == expected:
            return None
        return Reply(401, {"WWW-Authenticate": 'Basic realm="theirs"'}, b"{}")

    upstream.guard = check


def test_our_own_login_is_for_what_is_listed(mirror: MakeMirror, upstream: ScriptedRegistry, tmp_path: Path) -> None:
    publish(upstream)
    ask_for_password(upstream)
    own = {"access": Access.OWN, "repositories": ("org/mod*",), "docker_config": logins(tmp_path)}
    client = mirror(own)
    assert client.manifest("v1").status == 200
    assert client.blob(layer(upstream)).status == 200
    assert client.get("").status == 200
    before = len(upstream.seen)
    for path in ("manifests/v1", f"blobs/{layer(upstream)}", "tags/list", f"referrers/{layer(upstream)}"):
        refused = client.get(f"org/other/{path}")
        assert (refused.status, refused.code) == (403, "DENIED")
        assert client.get(f"org/model/deeper/{path}").status == 403
    assert len(upstream.seen) == before


def test_our_own_login_is_not_for_others(mirror: MakeMirror, upstream: ScriptedRegistry, tmp_path: Path) -> None:
    publish(upstream)
    ask_for_password(upstream)
    client = mirror({"docker_config": logins(tmp_path), "repositories": ("org/listed",)}, refused_seconds=0)
    assert client.manifest("v1").headers["www-authenticate"] == 'Basic realm="theirs"'
    publish(upstream, repo="org/listed")
    assert client.manifest("v1", "org/listed").status == 200
    assert client.manifest("v1").status == 401
    theirs = "Basic " + base64.b64encode(b"node:hunter2").decode()
    assert client.manifest("v1", Authorization=theirs).status == 200


def test_a_login_of_ours_that_is_wrong_is_no_clients_concern(
    mirror: MakeMirror, upstream: ScriptedRegistry, tmp_path: Path
) -> None:
    publish(upstream)
    upstream.guard = lambda _: Reply(401, {"WWW-Authenticate": 'Basic realm="theirs"'}, b"{}")
    client = mirror({"access": Access.OWN, "repositories": ("org/**",), "docker_config": logins(tmp_path)})
    answer = client.manifest("v1")
    assert answer.status == 502
    assert "www-authenticate" not in answer.headers
    assert b"hunter2" not in answer.body


def test_whom_a_listed_repository_is_for_survives_the_upstream(
    mirror: MakeMirror, upstream: ScriptedRegistry, tmp_path: Path
) -> None:
    publish(upstream)
    ask_for_password(upstream)
    own = {"access": Access.OWN, "repositories": ("org/model",), "docker_config": logins(tmp_path)}
    client = mirror(own, tag_seconds=0)
    client.manifest("v1")
    client.blob(layer(upstream))
    upstream.close()
    assert client.manifest("v1").status == 200
    assert client.blob(layer(upstream)).status == 200


def test_errors_that_repeat_a_token_do_not_reach_anybody(
    mirror: MakeMirror, upstream: ScriptedRegistry, guard: Guard
) -> None:
    upstream.guard = lambda _: error(403, "DENIED", f"bad token {SECRET}")
    answer = mirror().manifest("v1", Authorization=bearer())
    assert answer.status == 403
    assert SECRET.encode() not in answer.body


def test_a_token_that_ends_amid_a_pull(mirror: MakeMirror, upstream: ScriptedRegistry, guard: Guard) -> None:
    """It is believed for a while, and the upstream knows better: the client hears of it, and goes on with a new one."""
    content = random.Random(5).randbytes(70 << 20)
    blob = Digest.of(content)
    upstream.blobs[str(blob)] = content
    client = mirror()
    assert client.head(f"{REPO}/blobs/{blob}", Authorization=bearer()).status == 200
    guard.tokens = {"new-token": [REPO]}
    assert_challenged(client.blob(blob, Range="bytes=60000000-", Authorization=bearer()))
    assert client.blob(blob, Range="bytes=60000000-", Authorization=bearer("new-token")).body == content[60_000_000:]


def test_what_is_said_of_one_repository_is_not_told_in_another(
    mirror: MakeMirror, upstream: ScriptedRegistry, guard: Guard
) -> None:
    guard.public.add("org/other")
    blob = layer(upstream)
    client = mirror()
    assert client.head(f"{REPO}/blobs/{blob}", Authorization=bearer()).status == 200
    assert client.head(f"org/other/blobs/{blob}").status == 200
    guard.tokens, before = {}, guard.public
    upstream.on("GET", "/blobs/", error(404, "BLOB_UNKNOWN"), times=1000)
    assert_challenged(client.blob(blob, Authorization=bearer()))
    answer = client.blob(blob, "org/other")
    assert before == guard.public
    assert answer.status == 502
    assert REPO.encode() not in answer.body
    assert "www-authenticate" not in answer.headers


def test_redirects_elsewhere_carry_no_token(
    mirror: MakeMirror, upstream: ScriptedRegistry, other: ScriptedRegistry, guard: Guard
) -> None:
    blob = layer(upstream)
    other.blobs[str(blob)] = upstream.blobs[str(blob)]
    away = Reply(307, {"Location": f"{other.url}/v2/cdn/blobs/{blob}?signature=x"})
    for method in ("GET", "HEAD"):
        upstream.on(method, "/blobs/", away, times=20)
    assert mirror().blob(blob, Authorization=bearer()).status == 200
    assert other.seen
    assert all("Authorization" not in request.headers for request in other.seen)
