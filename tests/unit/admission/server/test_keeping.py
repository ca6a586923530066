"""Replicas that share certificates, and clients that trust what was published."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import socket
import ssl
import threading
from pathlib import Path

import pytest

from modelcar.admission.server.certificates import Lifetimes, renewed
from modelcar.admission.server.keeping import Keeper, context_of
from modelcar.errors import ClusterUnreachable, WorldError
from tests.support.leaks import no_file_left_open

from .vaults import MemoryVault

NAME = "webhook.models.svc"
DAY = dt.timedelta(days=1)
SHORT = Lifetimes(certificate=9 * DAY, authority=27 * DAY, overlap=DAY)


class Clock:
    def __init__(self) -> None:
        self.now = dt.datetime.now(dt.UTC)

    def __call__(self) -> dt.datetime:
        return self.now


def keeper(vault: MemoryVault, clock: Clock | None = None, look_seconds: float = 60) -> Keeper:
    return Keeper(vault, [NAME], SHORT, clock=clock or Clock(), look_seconds=look_seconds)


def shown(context: ssl.SSLContext, bundle: bytes) -> bytes:
    """The certificate that a client gets which trusts `bundle`, over a real handshake."""
    ours, theirs = socket.socketpair()
    client = ssl.create_default_context(cadata=bundle.decode())

    def serve() -> None:
        with context.wrap_socket(ours, server_side=True):
            pass

    server = threading.Thread(target=serve)
    server.start()
    try:
        with client.wrap_socket(theirs, server_hostname=NAME) as connection:
            certificate = connection.getpeercert(binary_form=True)
            assert connection.version() == "TLSv1.3"
    finally:
        server.join()
    assert certificate is not None
    return certificate


def test_the_first_replica_makes_what_all_show() -> None:
    vault = MemoryVault()
    one, two = keeper(vault), keeper(vault)
    asyncio.run(one.start())
    asyncio.run(two.start())
    assert vault.writes == 1
    assert vault.bundles == [vault.data["ca.crt"]]
    assert shown(one.current(), vault.bundles[-1]) == shown(two.current(), vault.bundles[-1])
    assert one.until == two.until > dt.datetime.now(dt.UTC).timestamp()


def test_replicas_that_begin_at_once_agree() -> None:
    vault, others = MemoryVault(), MemoryVault()
    asyncio.run(keeper(others).start())
    rival = others.data

    def overtake() -> None:
        vault.before_write = lambda: None
        vault.write(rival, None)

    vault.before_write = overtake
    late = keeper(vault)
    asyncio.run(late.start())
    assert vault.data == rival
    assert vault.bundles == [rival["ca.crt"]]
    shown(late.current(), rival["ca.crt"])


def test_who_never_gets_a_turn_says_so() -> None:
    vault = MemoryVault()

    def overtake() -> None:
        vault.version += 1

    vault.before_write = overtake
    with pytest.raises(WorldError, match="changed by others"):
        asyncio.run(keeper(vault).start())


def test_without_a_certificate_there_is_no_context() -> None:
    with pytest.raises(WorldError, match="no certificate yet"):
        keeper(MemoryVault()).current()


def test_a_renewal_by_one_is_taken_by_the_other() -> None:
    async def main() -> None:
        vault, clock = MemoryVault(), Clock()
        one, two = keeper(vault, clock), keeper(vault, clock)
        await one.start()
        await two.start()
        old = two.current()
        clock.now += 7 * DAY
        await one.look()
        assert two.current() is old
        await two.look()
        assert vault.writes == 2
        assert two.current() is not old
        assert one.until == two.until

    asyncio.run(main())


def test_nothing_is_issued_by_an_authority_that_was_not_published() -> None:
    """The API server cannot be written to for weeks; what it trusts is what we show."""
    vault, clock = MemoryVault(), Clock()
    one = keeper(vault, clock)
    asyncio.run(one.start())
    clock.now += 19 * DAY
    asyncio.run(one.look())  # a new authority is in the bundle
    assert len(vault.bundles) == 2
    vault.unpublishable = True
    issued = vault.data["tls.crt"]
    for _ in range(4):
        clock.now += DAY / 2
        with pytest.raises(ClusterUnreachable):
            asyncio.run(one.look())
    assert vault.data["tls.crt"] == issued


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            ClusterUnreachable("https://api does not answer"),
            "certificates are not renewed: https://api does not answer",
        ),
        (KeyError("a defect"), "certificates are not renewed"),
    ],
)
def test_what_cannot_be_renewed_goes_on_and_is_said(
    caplog: pytest.LogCaptureFixture, error: Exception, said: str
) -> None:
    async def main() -> None:
        vault = MemoryVault()
        one = keeper(vault, look_seconds=0.01)
        await one.start()
        context = one.current()
        vault.broken = error
        watching = asyncio.create_task(one.watch())
        async with asyncio.timeout(60):
            while caplog.text.count("not renewed") < 2:  # noqa: ASYNC110  # a log has no event
                await asyncio.sleep(0.01)
        watching.cancel()
        assert one.current() is context

    asyncio.run(main())
    assert said in caplog.text


def test_the_key_reaches_neither_disk_nor_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with no_file_left_open():
        papers = renewed(None, [NAME], SHORT, dt.datetime.now(dt.UTC))
        context_of(papers.chain)
    assert not list(tmp_path.iterdir())
    assert "PRIVATE" not in caplog.text
