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

from modelcar.errors import UsageError
from modelcar.registry.mutual import MutualTls
from modelcar.registry.settings import ClientSettings
from modelcar.registry.transport import Broken, Transport
from tests.support.authority import Authority, Issued

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
def server(context: ssl.SSLContext) -> Iterator[str]:
    """Answers every request with 204 over asyncio's TLS, as the shim does."""
    ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]] = Future()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    async def main() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # handshakes that fail are the point
        async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as listening:
            ready.set_result((asyncio.get_running_loop(), stop, listening.sockets[0].getsockname()[1]))
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    loop, stop, port = ready.result(5)
    try:
        yield f"https://127.0.0.1:{port}/"
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
    with server(node.server_context()) as url:
        assert ask(url, other) == 204


def test_the_identity_may_be_a_dns_name(authority: Authority) -> None:
    node = tls(authority, authority.issue("node", dns=["a.example", "peers.example"]), "peers.example")
    with server(node.server_context()) as url:
        assert ask(url, node) == 204


def test_a_server_of_the_authority_without_the_identity_is_refused(node: MutualTls, authority: Authority) -> None:
    stranger = authority.issue("stranger", uris=["spiffe://cluster.example/other"], ips=["127.0.0.1"])
    context = tls(authority, stranger, "spiffe://cluster.example/other").server_context()
    with server(context) as url, pytest.raises(Broken, match="not that of a peer"):
        ask(url, node)


def test_a_server_of_another_authority_is_refused(node: MutualTls, tmp_path: Path) -> None:
    forger = Authority(tmp_path / "forger")
    context = tls(forger, forger.issue("node", uris=[IDENTITY])).server_context()
    with server(context) as url, pytest.raises(Broken, match="certificate is not accepted"):
        ask(url, node)


@pytest.mark.parametrize("who", ["nobody", "stranger", "forged"])
def test_a_client_without_the_right_certificate_is_refused(
    node: MutualTls, authority: Authority, tmp_path: Path, who: str
) -> None:
    forger = Authority(tmp_path / "forger")
    stranger = tls(authority, authority.issue("stranger", uris=["spiffe://cluster.example/other"]))
    forged = forger.issue("node", uris=[IDENTITY])
    with server(node.server_context()) as url:
        port = int(url.split(":")[2].strip("/"))
        context = ssl.create_default_context(cafile=str(authority.ca_file))
        context.check_hostname = False
        if who != "nobody":
            files = forged if who == "forged" else Issued(stranger.certificate_file, stranger.key_file)
            context.load_cert_chain(files.certificate, files.key)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            _exchange(context, port)


def _exchange(context: ssl.SSLContext, port: int) -> None:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="x") as sock,
    ):
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        if not sock.recv(1):
            raise ConnectionResetError


def test_changed_files_are_used_with_the_next_handshake(authority: Authority, tmp_path: Path) -> None:
    """The old authority is no longer trusted, and the new one is."""
    node = tls(authority, authority.issue("node", uris=[IDENTITY]))
    successor = Authority(tmp_path / "successor")
    new = tls(successor, successor.issue("node", uris=[IDENTITY]))
    old = replace(node, ca_file=tmp_path / "old.pem", certificate_file=tmp_path / "c", key_file=tmp_path / "k")
    for source, target in ((node.ca_file, old.ca_file), (node.certificate_file, old.certificate_file)):
        target.write_bytes(source.read_bytes())
    old.key_file.write_bytes(node.key_file.read_bytes())
    with server(node.server_context()) as url:
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


def test_files_that_are_being_written_change_nothing(node: MutualTls) -> None:
    client = node.client_context()
    with server(node.server_context()) as url:
        node.certificate_file.write_text("-----BEGIN CERT")
        port = int(url.split(":")[2].strip("/"))
        _exchange(client, port)


def test_files_that_cannot_be_used_are_named(node: MutualTls, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*gone\.pem"):
        replace(node, ca_file=tmp_path / "gone.pem").client_context()
    with pytest.raises(UsageError, match=r"node\.key cannot be used"):
        replace(node, certificate_file=node.key_file).client_context()
    with pytest.raises(UsageError, match="identity"):
        replace(node, identity="")


def test_a_direct_client_does_not_use_the_environments_proxy(monkeypatch: pytest.MonkeyPatch, node: MutualTls) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setattr("modelcar.registry.transport.is_loopback", lambda _: False)
    with server(node.server_context()) as url:
        assert ask(url, node) == 204
        indirect = Transport(ClientSettings(mutual_tls=node, timeout=5))
        with pytest.raises(Broken, match="proxy"):
            indirect.request("GET", url, {})
