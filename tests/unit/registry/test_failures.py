"""What is said when nothing works: one clear line, the right kind, the right exit status. And Ctrl-C."""

from __future__ import annotations

import errno
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator

import pytest
import urllib3

from modelcar.errors import (
    Forbidden,
    ModelcarError,
    RateLimited,
    RegistryError,
    RemoteNotFound,
    StorageError,
    Unauthorized,
    Unreachable,
    UsageError,
)
from modelcar.oci import Reference
from modelcar.registry import ClientSettings, Registry
from modelcar.registry.problems import clean, show_url
from modelcar.registry.session import same_origin
from tests.support.scripted_registry import DROP, Default, Reply, Request, ScriptedRegistry, error

from .conftest import Authority, Client, random_image, reference

pytestmark = pytest.mark.slow


@pytest.fixture
def closed() -> Iterator[str]:
    """An address where nobody listens, nor can begin to."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RegistryError),
        (401, Unauthorized),
        (403, Forbidden),
        (404, RemoteNotFound),
        (429, RateLimited),
        (500, RegistryError),
        (503, RegistryError),
        (302, RegistryError),
        (204, RegistryError),
    ],
)
def test_statuses(server: ScriptedRegistry, client: Client, status: int, kind: type[RegistryError]) -> None:
    server.on("GET", "/manifests/", error(status, "SOME_CODE", "told\nby\tthe registry"), times=9)
    with pytest.raises(kind) as caught:
        client().manifest(reference(server))
    assert type(caught.value) is kind
    assert caught.value.status == status
    assert caught.value.exit_status == 3
    line = str(caught.value)
    assert line.startswith(f"{server.name}: reading manifest org/model:v1: {status}")
    assert "\n" not in line
    if status != 204:
        assert "SOME_CODE: told by the registry" in line


def test_errors_that_pass_are_tried_again(server: ScriptedRegistry, client: Client, pauses: list[float]) -> None:
    image = random_image()
    client().push(image.store, image.descriptor, reference(server))
    for answer in (Reply(500), Reply(502), Reply(DROP), Reply(503, {"Retry-After": "7"})):
        server.on("GET", "/manifests/", answer)
    assert client().manifest(reference(server)) == image.index
    assert len(pauses) == 4
    assert pauses[0] < pauses[1] < pauses[2]
    assert pauses[3] == 7


def test_attempts_end(server: ScriptedRegistry, client: Client, pauses: list[float]) -> None:
    server.on("GET", "/manifests/", Reply(DROP), times=99)
    with pytest.raises(Unreachable, match="the connection was cut"):
        client(attempts=3).manifest(reference(server))
    assert len(pauses) == 2


def test_nobody_listens(client: Client, closed: str) -> None:
    with pytest.raises(Unreachable) as caught:
        client().resolve(Reference.parse(f"{closed}/org/model:v1"))
    assert str(caught.value) == f"{closed}: resolving org/model:v1: nothing listens at {closed}"
    assert f"registry-shim serve --writable --root DIR --listen {closed}" in str(caught.value.hint)
    assert caught.value.exit_status == 3


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "nothing listens at registry.example:443"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "registry.example:443 cannot be reached: No route to host"),
        (TimeoutError("timed out"), "registry.example:443 does not answer"),
    ],
)
def test_no_connection_names_the_port_that_was_tried(
    client: Client, monkeypatch: pytest.MonkeyPatch, error: OSError, said: str
) -> None:
    def refused(*_args: object, **_kwargs: object) -> None:
        raise error

    monkeypatch.setattr(urllib3.util.connection, "create_connection", refused)
    with pytest.raises(Unreachable) as caught:
        client().resolve(Reference.parse("registry.example/org/model:v1"))
    assert str(caught.value) == f"registry.example: resolving org/model:v1: {said}"
    assert "name" in str(caught.value.hint)
    assert "registry-shim" not in str(caught.value.hint)


def test_no_such_host(client: Client, monkeypatch: pytest.MonkeyPatch, pauses: list[float]) -> None:
    def unknown(*_args: object, **_kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(Unreachable, match="name cannot be resolved") as caught:
        client().resolve(Reference.parse("registry.invalid/org/model:v1"))
    assert "DNS" in str(caught.value.hint)
    assert not pauses


def test_docker_hub_is_elsewhere_on_the_network(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def unknown(host: str, *_args: object, **_kwargs: object) -> None:
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(Unreachable, match=r"^docker\.io:"):
        client().resolve(Reference.parse("ubuntu"))
    assert asked == ["registry-1.docker.io"]


# TLS.


def test_tls_with_a_ca(secure_server: ScriptedRegistry, client: Client, authority: Authority) -> None:
    image = random_image(sizes=(10, 3_000_000))
    registry = client(ca_file=authority.ca)
    registry.push(image.store, image.descriptor, reference(secure_server))
    assert registry.resolve(reference(secure_server)) == image.descriptor


def test_tls_without_its_ca(secure_server: ScriptedRegistry, client: Client) -> None:
    with pytest.raises(Unreachable, match="certificate is not accepted") as caught:
        client().resolve(reference(secure_server))
    assert "--ca-file" in str(caught.value.hint)


@pytest.mark.debian("faketime", "openssl")
@pytest.mark.parametrize(
    ("clock", "why"), [("-10y", "certificate is not yet valid"), ("+10y", "certificate has expired")]
)
def test_tls_by_a_wrong_clock(secure_server: ScriptedRegistry, authority: Authority, clock: str, why: str) -> None:
    """Two lines, and nothing from libraries."""
    asking = ["-m", "modelcar", "inspect", str(reference(secure_server)), "--ca-file", str(authority.ca)]
    done = subprocess.run(["faketime", "-f", clock, sys.executable, *asking], capture_output=True, text=True)
    first, hint = done.stderr.splitlines()
    assert first.endswith(f"its certificate is not accepted: {why}")
    assert hint == "  hint: renew it, or set the clock here right"
    assert done.returncode == 3


def test_tls_with_plain_http_asked_for(secure_server: ScriptedRegistry, client: Client) -> None:
    with pytest.raises(Unreachable):
        client(plain_http=True, attempts=1).resolve(reference(secure_server))


def test_plain_http_on_loopback_even_with_a_ca(server: ScriptedRegistry, client: Client, authority: Authority) -> None:
    image = random_image()
    registry = client(ca_file=authority.ca)
    registry.push(image.store, image.descriptor, reference(server))
    assert registry.resolve(reference(server)) == image.descriptor


def test_go_servers_say_that_they_speak_tls(server: ScriptedRegistry, client: Client) -> None:
    text = b"Client sent an HTTP request to an HTTPS server.\n"
    server.on("GET", "/manifests/", Reply(400, {"Content-Type": "text/plain"}, text))
    with pytest.raises(RegistryError) as caught:
        client(plain_http=True).manifest(reference(server))
    assert "leave out --plain-http" in str(caught.value.hint)


def test_tls_uploads_notice_early_answers(
    secure_server: ScriptedRegistry, client: Client, authority: Authority
) -> None:
    image = random_image(sizes=(20_000_000,), platforms=1)
    secure_server.on("PUT", "/uploads/", error(403, "DENIED", "quota"), times=2, reads=1000)
    with pytest.raises(Forbidden, match="quota"):
        client(ca_file=authority.ca).push(image.store, image.descriptor, reference(secure_server))
    assert not secure_server.manifests


def test_tls_is_not_given_up(
    secure_server: ScriptedRegistry, server: ScriptedRegistry, client: Client, authority: Authority
) -> None:
    secure_server.on("GET", "/manifests/", Reply(307, {"Location": f"{server.url}/v2/x?sig=s3cret"}))
    with pytest.raises(RegistryError, match="redirects from https to") as caught:
        client(ca_file=authority.ca).manifest(reference(secure_server))
    assert "s3cret" not in str(caught.value)
    assert not server.seen


def test_a_registry_that_forgets_its_tls_proxy(
    secure_server: ScriptedRegistry, client: Client, authority: Authority
) -> None:
    """Locations with http:// and our own host are meant as https."""
    image = random_image()
    registry = client(ca_file=authority.ca)
    registry.push(image.store, image.descriptor, reference(secure_server))
    plain = f"http://{secure_server.name}/v2/org/model/manifests/{image.index.digest}"
    secure_server.on("GET", "/manifests/v1", Reply(307, {"Location": plain}))
    assert registry.manifest(reference(secure_server)) == image.index


@pytest.mark.parametrize(("content", "error"), [(None, StorageError), ("no certificate", UsageError)])
def test_a_ca_file_that_is_none(
    tmp_path_factory: pytest.TempPathFactory, content: str | None, error: type[Exception]
) -> None:
    path = tmp_path_factory.mktemp("x") / "ca.pem"
    if content:
        path.write_text(content)
    with pytest.raises(error, match=r"ca\.pem"):
        Registry(ClientSettings(ca_file=path))


# Proxies.


def test_a_proxy_of_the_environment(server: ScriptedRegistry, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://user:s3cret@{server.name}")
    monkeypatch.setenv("no_proxy", "other.example")
    image = random_image()
    registry = client(plain_http=True)
    registry.push(image.store, image.descriptor, Reference.parse("registry.example/org/model:v1"))
    assert ("org/model", "v1") in server.manifests
    assert {r.headers["Host"] for r in server.seen} == {"registry.example"}
    assert all(r.headers["Proxy-Authorization"].startswith("Basic ") for r in server.seen)


def test_loopback_needs_no_proxy(
    server: ScriptedRegistry, client: Client, closed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://{closed}")
    with pytest.raises(RemoteNotFound):
        client().resolve(reference(server))


def test_a_proxy_that_is_away(client: Client, closed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", f"http://user:s3cret@{closed}")
    with pytest.raises(Unreachable, match="proxy") as caught:
        client().resolve(Reference.parse("registry.example/org/model:v1"))
    assert "s3cret" not in str(caught.value)


def test_a_proxy_that_is_none(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "ftp://s3cret@proxy")
    with pytest.raises(UsageError, match="proxy variable") as caught:
        client().resolve(Reference.parse("registry.example/org/model:v1"))
    assert "s3cret" not in str(caught.value)


# What may be shown.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("a\x1b[31m b\r\n\tc\u202e", "a[31m b c"),
        ("see https://u:p@h.example/x?sig=1#f, ok", "see https://h.example/x ok"),
        ("https://h.example/x", "https://h.example/x"),
        ("x" * 400, "x" * 299 + "…"),
        ("has hunter2 in it", "has … in it"),
    ],
)
def test_clean(text: str, expected: str) -> None:
    assert clean(text, hide=["hunter2"]) == expected


def test_urls_are_shown_without_their_secrets() -> None:
    assert show_url("https://u:p@h.example:5000/a/b?X-Amz-Signature=1#x") == "https://h.example:5000/a/b"


def test_origins() -> None:
    assert same_origin("https://h/a", "https://h:443")
    assert not same_origin("https://h/a", "http://h")
    assert not same_origin("https://h:8443/a", "https://h")
    assert not same_origin("https://h.example.evil/", "https://h.example")


# Giving up.


def test_ctrl_c_ends_promptly_and_leaves_nothing(server: ScriptedRegistry) -> None:
    """A push in a process of its own, to a registry that stops reading."""

    def hang(_request: Request, _default: Default) -> Reply:
        server.closing.wait(120)
        return Reply(DROP)

    server.on("PUT", "/uploads/", hang, times=4, reads=1000)
    script = textwrap.dedent(
        f"""
        import sys
        from pathlib import Path
        from modelcar.layers.bytemap import ByteMap, Zeros
        from modelcar.oci import Descriptor, Digest, Manifest, Reference
        from modelcar.registry import Registry
        from modelcar.store.base import write_document
        from modelcar.store.memory import MemoryStore

        store, layers = MemoryStore(), []
        for i in range(4):
            layer = Descriptor(media_type="x", digest=Digest.of(bytes([i])), size=1 << 28)
            store._blobs[layer.digest] = ByteMap([Zeros(1 << 28)])
            layers.append(layer)
        write_document(store, b"config")
        manifest = Manifest(config=Descriptor.of("c", b"config"), layers=tuple(layers))
        write_document(store, manifest.content)
        try:
            with Registry() as registry:
                registry.push(store, manifest.descriptor, Reference.parse("{server.name}/org/model:v1"))
        except KeyboardInterrupt:
            sys.exit(130)
        """
    )
    process = subprocess.Popen([sys.executable, "-c", script])
    try:
        deadline = time.monotonic() + 60
        while len(server.requests("PUT")) < 4:
            assert time.monotonic() < deadline, "it does not push"
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130  # long before the registry would let go
    finally:
        process.kill()
        process.wait()
    assert not server.manifests
    assert not server.uploads


ODD_ANSWERS = [
    b"",
    b"\r\n",
    b"HTTP/1.1 200\r\n\r\n",
    b"HTTP/1.1 abc\r\n\r\n",
    b"\x15\x03\x01\x00\x02\x02",
    b"x" * 70_000,
    b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: zz\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200,
    b"HTTP/1.1 307 T\r\nLocation: http://[\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nLocation\r\n\r\n",
]


@pytest.mark.parametrize("answer", ODD_ANSWERS)
def test_no_exception_of_others_escapes(client: Client, answer: bytes) -> None:
    """Bytes of all kinds where an answer should be."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(10_000)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        ref = Reference.parse(f"127.0.0.1:{listener.getsockname()[1]}/x:y")
        with pytest.raises(ModelcarError) as caught:
            client(attempts=1, timeout=2, plain_http=True).manifest(ref)
        thread.join()
        assert "\n" not in str(caught.value)
