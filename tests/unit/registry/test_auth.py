"""Challenges answered: tokens for the right scopes, renewed in time, and logins sent to nobody else."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from modelcar.errors import ProtocolViolation, RegistryError, Unauthorized
from modelcar.registry.auth import Target, _check_realm
from tests.support.scripted_registry import Default, Reply, Request, ScriptedRegistry, TokenService

from .conftest import Client, blob, literal, random_image, reference

pytestmark = pytest.mark.slow


@pytest.fixture
def tokens(server: ScriptedRegistry, other: ScriptedRegistry) -> TokenService:
    return TokenService(server, other)


@pytest.fixture
def login(server: ScriptedRegistry, tmp_path: Path) -> Path:
    """A login for `server`: user u, password p."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"auths": {server.name: {"username": "u", "password": "p"}}}))
    return path


def test_anonymous(server: ScriptedRegistry, tokens: TokenService, client: Client) -> None:
    image = random_image()
    client().push(image.store, image.descriptor, reference(server))
    assert len(tokens.asked) == 1
    assert tokens.asked[0].query == {"service": "test", "scope": "repository:org/model:pull,push"}
    assert "Authorization" not in tokens.asked[0].headers


def test_with_a_login(server: ScriptedRegistry, tokens: TokenService, client: Client, login: Path) -> None:
    tokens.users = {"u": "p"}
    image = random_image()
    registry = client(docker_config=login)
    registry.push(image.store, image.descriptor, reference(server))
    registry.resolve(reference(server))
    assert [r.query["scope"] for r in tokens.asked] == [
        "repository:org/model:pull,push",
        "repository:org/model:pull",
    ]
    assert all(not r.headers.get("Authorization", "").startswith("Basic") for r in server.seen)


def test_an_identity_token_is_exchanged(
    server: ScriptedRegistry, tokens: TokenService, client: Client, tmp_path: Path
) -> None:
    tokens.users = {"id/+=": "id/+="}
    (tmp_path / "c").write_text(json.dumps({"auths": {server.name: {"identitytoken": "id/+="}}}))
    image = random_image()
    client(docker_config=tmp_path / "c").push(image.store, image.descriptor, reference(server))
    assert [r.method for r in tokens.asked] == ["POST"]
    assert b"scope=repository%3Aorg%2Fmodel%3Apull%2Cpush" in tokens.asked[0].body


def test_a_registry_token_is_used_as_it_is(
    server: ScriptedRegistry, tokens: TokenService, client: Client, tmp_path: Path
) -> None:
    tokens.valid.add("mine")
    (tmp_path / "c").write_text(json.dumps({"auths": {server.name: {"registrytoken": "mine"}}}))
    image = random_image()
    client(docker_config=tmp_path / "c").push(image.store, image.descriptor, reference(server))
    assert not tokens.asked


def test_a_token_that_ends_in_mid_push(server: ScriptedRegistry, tokens: TokenService, client: Client) -> None:
    """The registry stops knowing our tokens at every third upload; each request is repeated with a new one."""
    puts = 0

    def revoke(_request: Request, default: Default) -> Reply:
        nonlocal puts
        puts += 1
        if puts % 3 == 1:
            tokens.valid.clear()
        return default()

    server.on("PUT", "/v2/", revoke, times=99)
    image = random_image()
    client(concurrency=1).push(image.store, image.descriptor, reference(server))
    assert ("org/model", "v1") in server.manifests
    assert len(tokens.asked) > 1


def test_a_token_that_ends_in_the_middle_of_a_large_body(
    server: ScriptedRegistry, tokens: TokenService, client: Client, tmp_path: Path
) -> None:
    layer, content = blob(8_000_000)

    def expire(_request: Request, _default: Default) -> Reply:
        tokens.valid.clear()
        return tokens.check(_request) or Reply(500)

    server.on("PUT", "/uploads/", expire, reads=1000)
    client().upload_blob(reference(server), layer, literal(content))
    assert server.blobs[str(layer.digest)] == content
    assert len(server.requests("POST")) == 1  # the session went on
    assert len(tokens.asked) == 2


def test_a_new_token_that_is_void_at_once_is_renewed_for_who_was_let_in(
    server: ScriptedRegistry, tokens: TokenService, client: Client
) -> None:
    """As it happens where many at once have tokens made, and each makes the others' void."""
    layer, content = blob(100)
    registry = client()
    registry.upload_blob(reference(server), layer, literal(content))
    registry.open_blob(reference(server), layer).close()
    voided = 0

    def void(request: Request, default: Default) -> Reply:
        nonlocal voided
        voided += 1
        tokens.valid.clear()
        return tokens.check(request) or default()

    server.on("GET", "/blobs/", void, times=2)
    with registry.open_blob(reference(server), layer) as opened:
        assert opened.read() == content
    assert voided == 2


def test_tokens_are_renewed_before_they_end(
    server: ScriptedRegistry, tokens: TokenService, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = random_image()
    now = 1000.0
    monkeypatch.setattr("modelcar.registry.auth.time.monotonic", lambda: now)
    registry = client()
    registry.push(image.store, image.descriptor, reference(server))
    refused = len([r for r in server.seen if "Authorization" not in r.headers])
    now += 290  # of 300 seconds
    registry.push(image.store, image.descriptor, reference(server))
    assert len(tokens.asked) == 2
    assert len([r for r in server.seen if "Authorization" not in r.headers]) == refused


def test_one_thread_asks_for_all(server: ScriptedRegistry, tokens: TokenService, client: Client) -> None:
    image = random_image(sizes=(10, 20, 30, 40, 50, 60))
    client(concurrency=8).push(image.store, image.descriptor, reference(server))
    assert len(tokens.asked) == 1


def test_a_mount_asks_for_both_repositories(server: ScriptedRegistry, tokens: TokenService, client: Client) -> None:
    layer, content = blob(100)
    client().upload_blob(reference(server), layer, literal(content), mount_from=["a/b"])
    scopes = [r.query["scope"] for r in tokens.asked]
    assert len(scopes) == 2  # the query of the fake keeps the first of two scopes
    assert scopes[1].startswith("repository:a/b:pull")


def test_a_wrong_password(server: ScriptedRegistry, tokens: TokenService, client: Client, login: Path) -> None:
    tokens.users = {"u": "another"}
    with pytest.raises(Unauthorized, match="the stored login is refused") as caught:
        client(docker_config=login).resolve(reference(server))
    assert f"docker login {server.name}" in str(caught.value.hint)
    assert caught.value.exit_status == 3


def test_anonymous_is_refused(server: ScriptedRegistry, tokens: TokenService, client: Client) -> None:
    tokens.users = {}
    with pytest.raises(Unauthorized, match="anonymous access is refused"):
        client().resolve(reference(server))


def test_tokens_that_do_not_help(server: ScriptedRegistry, tokens: TokenService, client: Client) -> None:
    server.on("HEAD", "/v2/", lambda request, _: tokens.check(request) or Reply(401), times=99)
    tokens.expires_in = 1
    server.guard = lambda _: Reply(401, {"WWW-Authenticate": f'Bearer realm="{tokens._realm}"'})
    with pytest.raises(Unauthorized, match="401"):
        client().resolve(reference(server))
    assert len(tokens.asked) <= 2


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"token": 3}', b'{"token": "a\\r\\nX: y"}', b"\xff"])
def test_token_servers_that_answer_nonsense(
    server: ScriptedRegistry, other: ScriptedRegistry, tokens: TokenService, client: Client, body: bytes
) -> None:
    other.guard = lambda _: Reply(200, body=body)
    with pytest.raises(ProtocolViolation, match=r"token|JSON"):
        client().resolve(reference(server))


def test_token_servers_that_are_down_for_a_moment(
    server: ScriptedRegistry, other: ScriptedRegistry, tokens: TokenService, client: Client
) -> None:
    other.on("GET", "/token", Reply(503), times=2)
    image = random_image()
    client().push(image.store, image.descriptor, reference(server))
    other.on("GET", "/token", Reply(503), times=99)
    with pytest.raises(RegistryError, match="503"):
        client().resolve(reference(server))


def test_basic(server: ScriptedRegistry, client: Client, login: Path) -> None:
    def guard(request: Request) -> Reply | None:
        if request.headers.get("Authorization") == "Basic dTpw":
            return None
        return Reply(401, {"WWW-Authenticate": 'Basic realm="x"'}, b"")

    server.guard = guard
    image = random_image()
    client(docker_config=login).push(image.store, image.descriptor, reference(server))
    assert len([r for r in server.seen if "Authorization" not in r.headers]) <= 2 + 4  # /v2/, then each thread once


def test_a_wrong_basic_password_is_tried_once(server: ScriptedRegistry, client: Client, login: Path) -> None:
    server.guard = lambda _: Reply(401, {"WWW-Authenticate": 'Basic realm="x"'}, b"")
    registry = client(docker_config=login)
    server.seen.clear()
    with pytest.raises(Unauthorized):
        registry.resolve(reference(server))
    assert len(server.requests("HEAD")) == 2


def test_what_a_registry_echoes_is_not_shown(
    server: ScriptedRegistry, tokens: TokenService, client: Client, login: Path
) -> None:
    login.write_text(json.dumps({"auths": {server.name: {"username": "u", "password": "hunter2"}}}))
    tokens.users = {"u": "hunter2"}
    sent = []

    def echo(request: Request, default: Default) -> Reply:
        if "Authorization" not in request.headers:
            return default()
        sent.append(request.headers["Authorization"].removeprefix("Bearer "))
        text = f"bad {sent[-1]} of u:hunter2 for https://u:pw@x.example/a?sig=abc\x1b[31m\n!"
        return Reply(403, {"Content-Type": "text/plain"}, text.encode())

    server.on("GET", "/tags/", echo, times=2)
    with pytest.raises(RegistryError) as caught:
        list(client(docker_config=login).tags(reference(server)))
    text = str(caught.value)
    assert "bad … of u:… for https://x.example/a !" in text
    assert sent[0] not in text


@pytest.mark.parametrize(
    ("realm", "trusts_http", "good"),
    [
        ("https://auth.example/token", False, True),
        ("http://auth.example/token", False, False),
        ("http://127.0.0.1.auth.example/token", False, False),
        ("http://[::1]:5001/token", False, True),
        ("http://auth.example/token", True, True),
        ("http://127.0.0.1:5001/token", False, True),
        ("http://localhost/token", False, True),
        ("ftp://auth.example/token", True, False),
        ("/token", True, False),
        ("https://", False, False),
        ("http://[x", True, False),
    ],
)
def test_where_a_login_may_go(realm: str, trusts_http: bool, good: bool) -> None:
    target = Target("r.example", "a", (), trusts_http)
    if good:
        _check_realm(realm, target)
    else:
        with pytest.raises(ProtocolViolation, match="no login may be sent"):
            _check_realm(realm, target)


def test_a_token_server_without_tls_gets_nothing(server: ScriptedRegistry, client: Client) -> None:
    server.guard = lambda _: Reply(401, {"WWW-Authenticate": 'Bearer realm="http://auth.example/token?x=s3cret"'})
    with pytest.raises(ProtocolViolation) as caught:
        client().resolve(reference(server))
    assert "s3cret" not in str(caught.value)


def test_threads_that_are_all_refused_at_once(server: ScriptedRegistry, tokens: TokenService, client: Client) -> None:
    registry, layers = client(), [blob(1000, seed) for seed in range(8)]
    threads = [
        threading.Thread(target=registry.upload_blob, args=(reference(server), layer, literal(content)))
        for layer, content in layers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.blobs) == 8
    assert len(tokens.asked) == 1
