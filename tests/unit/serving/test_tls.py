"""TLS: real handshakes, certificates that are renewed, and clients that must show one."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from pathlib import Path

import pytest

from modelcar.errors import StorageError, UsageError
from modelcar.layers.bytemap import ByteMap
from modelcar.renewed import Renewed
from modelcar.serving.messages import Content, Request, Response
from modelcar.serving.settings import Limits, Tls
from modelcar.tls import subject_of
from tests.support.authority import Authority
from tests.support.raw_http import ask, head, rest, running

pytestmark = pytest.mark.slow

HEAD = head("Host: r")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def settings(authority: Authority) -> Tls:
    certificate, key = authority.issue_for_loopback("server")
    return Tls(certificate_file=certificate, key_file=key)


def trusting(authority: Authority, identity: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.ca_file))
    if identity is not None:
        context.load_cert_chain(*identity)
    return context


def renewed(files: Tls) -> Renewed[ssl.SSLContext]:
    return Renewed("the certificate", files.server_context, files.files, look_seconds=0)


async def who(request: Request) -> Response:
    return Response(status=200, body=str(request.subject).encode())


def test_a_file_arrives_as_it_is(tmp_path: Path, authority: Authority, settings: Tls) -> None:
    content = os.urandom(3 << 20)
    path = tmp_path / "file"
    path.write_bytes(content)

    async def handler(_: Request) -> Response:
        return Response(
            status=200, body=Content(map=ByteMap.of_file(path, len(content)), offset=5, size=len(content) - 9)
        )

    async def main() -> bytes:
        async with running(handler, tls=renewed(settings)) as (_, port):
            return await ask(port, HEAD, trusting(authority))

    assert asyncio.run(main()).partition(b"\r\n\r\n")[2] == content[5:-4]


def test_a_file_that_shrinks_breaks_off(tmp_path: Path, authority: Authority, settings: Tls) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(1 << 20))
    map_ = ByteMap.of_file(path, 1 << 20)
    os.truncate(path, 1 << 19)

    async def handler(_: Request) -> Response:
        return Response(status=200, body=Content(map=map_, offset=0, size=1 << 20))

    async def main() -> bytes:
        async with running(handler, tls=renewed(settings)) as (_, port):
            return await ask(port, HEAD, trusting(authority))

    assert len(asyncio.run(main()).partition(b"\r\n\r\n")[2]) < 1 << 20


@pytest.mark.parametrize("speaks", [b"GET /v2/ HTTP/1.1\r\nHost: r\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b""])
def test_whoever_speaks_no_tls_is_cut_off(settings: Tls, speaks: bytes) -> None:
    async def main() -> None:
        limits = Limits(header_seconds=0.3)
        async with running(tls=renewed(settings), limits=limits) as (served, port):
            answer = await ask(port, speaks)
            assert b"HTTP" not in answer
            async with asyncio.timeout(60):
                while len(served.connections):  # noqa: ASYNC110  # nothing tells that it is gone
                    await asyncio.sleep(0.01)

    asyncio.run(main())


def test_old_versions_are_refused(authority: Authority, settings: Tls) -> None:
    context = trusting(authority)
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1

    async def main() -> None:
        async with running(tls=renewed(settings)) as (_, port):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await ask(port, HEAD, context)

    asyncio.run(main())


def test_clients_that_must_show_a_certificate(tmp_path: Path, authority: Authority, settings: Tls) -> None:
    ours = Tls(certificate_file=settings.certificate_file, key_file=settings.key_file, client_ca_file=authority.ca_file)
    stranger = Authority(tmp_path / "stranger").issue_for_loopback("stranger")

    async def main() -> None:
        async with running(who, tls=renewed(ours)) as (_, port):
            answer = await ask(port, HEAD, trusting(authority, authority.issue_for_loopback("node-7")))
            assert answer.endswith(b"node-7")
            for identity in (None, stranger):
                with pytest.raises((ssl.SSLError, ConnectionError)):
                    await refused(port, trusting(authority, identity))

    asyncio.run(main())


async def refused(port: int, context: ssl.SSLContext) -> None:
    """In TLS 1.3 the client learns of it after the handshake."""
    answer = await ask(port, HEAD, context)
    if not answer:
        raise ConnectionResetError


def test_a_certificate_is_renewed_while_old_connections_go_on(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    certificate, key = authority.issue_for_loopback("renewed")
    server = renewed(Tls(certificate_file=certificate, key_file=key))

    async def serial(port: int) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting(authority))
        try:
            shown = writer.get_extra_info("peercert")
            writer.write(HEAD)
            assert (await rest(reader)).endswith(b"hello")
            return str(shown["serialNumber"])
        finally:
            writer.close()

    async def main() -> None:
        async with running(tls=server) as (_, port):
            before = await serial(port)
            certificate.write_text("half of a new one")
            assert await serial(port) == before
            assert caplog.text.count("the certificate not renewed") == 1
            authority.issue_for_loopback("renewed")
            assert await serial(port) != before

    asyncio.run(main())


def test_what_is_no_certificate(tmp_path: Path, authority: Authority, settings: Tls) -> None:
    _, other_key = authority.issue_for_loopback("other")
    empty = tmp_path / "empty"
    empty.touch()
    with pytest.raises(UsageError, match="are not a certificate and its key"):
        renewed(Tls(certificate_file=settings.certificate_file, key_file=other_key))
    with pytest.raises(StorageError, match=r"cannot read .*none: No such file"):
        renewed(Tls(certificate_file=tmp_path / "none", key_file=other_key))
    with pytest.raises(UsageError, match="holds no PEM certificate"):
        renewed(Tls(certificate_file=settings.certificate_file, key_file=settings.key_file, client_ca_file=empty))


def test_a_key_with_a_passphrase_asks_nobody(tmp_path: Path, settings: Tls) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(settings.key_file.read_bytes(), None)
    sealed = tmp_path / "sealed.key"
    sealed.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"passphrase"),
        )
    )
    with pytest.raises(UsageError, match="are not a certificate and its key"):
        renewed(Tls(certificate_file=settings.certificate_file, key_file=sealed))


@pytest.mark.parametrize(
    ("certificate", "subject"),
    [
        (None, None),
        ({}, None),
        ({"subject": ((("organizationName", "o"),), (("commonName", "n"),))}, "n"),
        ({"subject": (), "subjectAltName": (("IP Address", "1.2.3.4"), ("URI", "spiffe://a/b"))}, "spiffe://a/b"),
    ],
)
def test_whom_a_certificate_names(certificate: object, subject: str | None) -> None:
    assert subject_of(certificate) == subject


def test_handshakes_that_stand_still_take_nobodys_place(authority: Authority, settings: Tls) -> None:
    async def main() -> None:
        limits = Limits(connections=5)
        async with running(tls=renewed(settings), limits=limits) as (served, port):
            silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
            try:
                assert (await ask(port, HEAD, trusting(authority))).endswith(b"hello")
                assert len(served.connections) <= 5
            finally:
                for connection in silent:
                    connection.close()

    asyncio.run(main())
