"""Whom clients believe: the same on every Python."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from modelcar.cluster.access import Access
from modelcar.cluster.controller.operator import connection
from modelcar.tls import client_context, server_context
from tests.support.authority import Authority, Issued


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """As that of EKS: its certificates have no key identifiers."""
    return Authority(tmp_path / "ca", key_identifiers=False)


@pytest.fixture
def issued(authority: Authority) -> Issued:
    return authority.issue("server", dns=["server.test"])


@pytest.fixture
def _strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contexts as Python makes them from 3.13 on."""
    plain = ssl.create_default_context

    def strict(*args: object, **options: object) -> ssl.SSLContext:
        context = plain(*args, **options)  # type: ignore[arg-type]  # settings by their names
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)


def shake_hands(client: ssl.SSLContext, issued: Issued, name: str = "server.test") -> None:
    """In memory; raises what the client does."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context(issued.certificate, issued.key).wrap_bio(up, down, server_side=True)
    ours = client.wrap_bio(down, up, server_hostname=name)
    waiting: list[Callable[[], None]] = [ours.do_handshake, server.do_handshake]
    for _ in range(10):
        for one in list(waiting):
            try:
                one()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(one)
    assert not waiting


def access(ca: Path) -> Access:
    return Access(server="https://server.test", context=None, authority=ca.read_bytes())


CLIENTS: dict[str, Callable[[Path], ssl.SSLContext]] = {
    "registry": client_context,
    "cluster": lambda ca: client_context(authorities=ca.read_text()),
    "controller": lambda ca: connection(access(ca)).as_ssl_context(),
}


@pytest.mark.usefixtures("_strict")
@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
def test_certificates_without_key_identifiers(
    client: Callable[[Path], ssl.SSLContext], authority: Authority, issued: Issued
) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(ssl.create_default_context(cafile=authority.ca_file), issued)
    shake_hands(client(authority.ca_file), issued)


@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
def test_another_name_and_another_authority_are_refused(
    client: Callable[[Path], ssl.SSLContext], authority: Authority, issued: Issued, tmp_path: Path
) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        shake_hands(client(authority.ca_file), issued, "other.test")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(client(Authority(tmp_path / "other").ca_file), issued)
