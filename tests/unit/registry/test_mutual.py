"""TLS among nodes: both ends show a certificate of the nodes' authority, with the nodes' identity."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from modelcar.errors import StorageError, UsageError
from modelcar.registry.mutual import MutualTls
from modelcar.registry.settings import ClientSettings
from modelcar.registry.transport import Broken, Transport
from modelcar.renewed import Renewed
from modelcar.serving.http import listening
from modelcar.serving.messages import Request, Response
from tests.support.authority import Authority, Issued

pytestmark = pytest.mark.slow

IDENTITY = "spiffe://cluster.example/registry-shim"


def tls(authority: Authority, issued: Issued, identity: str = IDENTITY) -> MutualTls:
    return MutualTls(
        certificate_file=issued.certificate, key_file=issued.key, ca_file=authority.ca_file, identity=identity
    )


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


@pytest.fixture
def node(authority: Authority) -> MutualTls:
    return tls(authority, authority.issue("node", uris=[IDENTITY]))


@contextmanager
def server(mutual: MutualTls) -> Iterator[str]:
    """Answers every request with 204, as the shim does."""
    ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def answer(_: Request) -> Response:
        return Response(status=204)

    async def main(listener: socket.socket) -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # handshakes that fail are the point
        contexts = Renewed("certificate", mutual.server_context, mutual.files, look_seconds=0)
        async with listening(answer, listener, tls=contexts):
            ready.set_result((asyncio.get_running_loop(), stop))
            await stop.wait()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=lambda: asyncio.run(main(listener)))
        thread.start()
        loop, stop = ready.result(60)
        try:
            yield f"https://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()


def ask(url: str, mutual: MutualTls | None, ca_file: Path | None = None) -> int:
    """The status of the answer."""
    transport = Transport(ClientSettings(mutual_tls=mutual, ca_file=ca_file, timeout=5, direct=True))
    try:
        answer = transport.request("GET", url, {})
        answer.discard()
        return answer.status
    finally:
        transport.close()


def test_nodes_accept_each_other_at_any_address(node: MutualTls, authority: Authority) -> None:
    other = tls(authority, authority.issue("other", uris=[IDENTITY]))
    with server(node) as url:
        assert ask(url, other) == 204


def test_the_identity_may_be_a_dns_name(authority: Authority) -> None:
    node = tls(authority, authority.issue("node", dns=["a.example", "peers.example"]), "peers.example")
    with server(node) as url:
        assert ask(url, node) == 204


def test_a_server_of_the_authority_without_the_identity_is_refused(node: MutualTls, authority: Authority) -> None:
    stranger = authority.issue("stranger", uris=["spiffe://cluster.example/other"], ips=["127.0.0.1"])
    with (
        server(tls(authority, stranger, "spiffe://cluster.example/other")) as url,
        pytest.raises(Broken, match="not that of a peer"),
    ):
        ask(url, node)


def test_a_server_of_another_authority_is_refused(node: MutualTls, tmp_path: Path) -> None:
    forger = Authority(tmp_path / "forger")
    with (
        server(tls(forger, forger.issue("node", uris=[IDENTITY]))) as url,
        pytest.raises(Broken, match="certificate is not accepted"),
    ):
        ask(url, node)


@pytest.mark.parametrize("who", ["nobody", "stranger", "forged"])
def test_a_client_without_the_right_certificate_is_refused(
    node: MutualTls, authority: Authority, tmp_path: Path, who: str
) -> None:
    forger = Authority(tmp_path / "forger")
    stranger = tls(authority, authority.issue("stranger", uris=["spiffe://cluster.example/other"]))
    forged = forger.issue("node", uris=[IDENTITY])
    with server(node) as url:
        port = int(url.split(":")[2].strip("/"))
        context = ssl.create_default_context(cafile=str(authority.ca_file))
        context.check_hostname = False
        if who != "nobody":
            files = forged if who == "forged" else Issued(stranger.certificate_file, stranger.key_file)
            context.load_cert_chain(files.certificate, files.key)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            _exchange(context, port)


def _exchange(context: ssl.SSLContext, port: int, session: ssl.SSLSession | None = None) -> ssl.SSLSession | None:
    """The session, which may be resumed."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="x", session=session) as sock,
    ):
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        if not sock.recv(1):
            raise ConnectionResetError
        return sock.session


def test_changed_files_are_used_with_the_next_handshake(authority: Authority, tmp_path: Path) -> None:
    """The old authority is no longer trusted, and the new one is."""
    node = tls(authority, authority.issue("node", uris=[IDENTITY]))
    successor = Authority(tmp_path / "successor")
    new = tls(successor, successor.issue("node", uris=[IDENTITY]))
    old = replace(node, ca_file=tmp_path / "old.pem", certificate_file=tmp_path / "c", key_file=tmp_path / "k")
    for source, target in ((node.ca_file, old.ca_file), (node.certificate_file, old.certificate_file)):
        target.write_bytes(source.read_bytes())
    old.key_file.write_bytes(node.key_file.read_bytes())
    with server(node) as url:
        assert ask(url, old) == 204
        for fresh, file in (
            (new.ca_file, node.ca_file),
            (new.certificate_file, node.certificate_file),
            (new.key_file, node.key_file),
        ):
            file.write_bytes(fresh.read_bytes())
        assert ask(url, new) == 204
        with pytest.raises(Broken):
            ask(url, old)


def test_an_authority_that_is_trusted_no_longer_is_not_by_a_resumed_session_either(
    node: MutualTls, authority: Authority, tmp_path: Path
) -> None:
    client = tls(authority, authority.issue("other", uris=[IDENTITY])).client_context()
    with server(node) as url:
        port = int(url.split(":")[2].strip("/"))
        session = _exchange(client, port)
        assert session is not None
        node.ca_file.write_bytes(Authority(tmp_path / "successor").ca_file.read_bytes())
        with pytest.raises((ssl.SSLError, ConnectionError)):
            _exchange(client, port, session)


def test_a_client_shows_its_new_certificate_on_connections_to_come(
    node: MutualTls, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has open goes on meanwhile; half of a pair changes nothing."""
    monkeypatch.setattr(Renewed.__init__, "__kwdefaults__", {"look_seconds": 0})
    successor = Authority(tmp_path / "successor", "Successor")
    renewed = successor.issue("renewed", uris=[IDENTITY])
    mine = tls(authority, authority.issue("other", uris=[IDENTITY]))
    both = tmp_path / "both.pem"
    both.write_bytes(authority.ca_file.read_bytes() + successor.ca_file.read_bytes())
    transport = Transport(ClientSettings(mutual_tls=replace(mine, ca_file=both), timeout=5, direct=True))

    def status() -> int:
        answer = transport.request("GET", url, {})
        answer.discard()
        return answer.status

    try:
        with server(node) as url:
            assert status() == 204
            mine.certificate_file.write_bytes(renewed.certificate.read_bytes())
            assert status() == 204, "half of a pair is none"
            mine.key_file.write_bytes(renewed.key.read_bytes())
            with pytest.raises(Broken):
                status()
            node.ca_file.write_bytes(both.read_bytes())
            assert status() == 204
    finally:
        transport.close()


def test_files_that_are_being_written_change_nothing(node: MutualTls) -> None:
    client = node.client_context()
    with server(node) as url:
        node.certificate_file.write_text("-----BEGIN CERT")
        port = int(url.split(":")[2].strip("/"))
        _exchange(client, port)


def test_files_that_cannot_be_used_are_named(node: MutualTls, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot read .*gone\.pem"):
        replace(node, ca_file=tmp_path / "gone.pem").client_context()
    with pytest.raises(UsageError, match=r"node\.key are not a certificate and its key"):
        replace(node, certificate_file=node.key_file).client_context()
    with pytest.raises(UsageError, match="identity"):
        replace(node, identity="")


def test_a_direct_client_does_not_use_the_environments_proxy(monkeypatch: pytest.MonkeyPatch, node: MutualTls) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setattr("modelcar.registry.transport.is_loopback", lambda _: False)
    with server(node) as url:
        assert ask(url, node) == 204
        indirect = Transport(ClientSettings(mutual_tls=node, timeout=5))
        with pytest.raises(Broken, match="proxy"):
            indirect.request("GET", url, {})
