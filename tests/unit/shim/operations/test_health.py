"""Health and readiness, the pages that tell them, and what systemd is told."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading
from pathlib import Path

import pytest

from modelcar.serving.messages import Request, Response
from registry_shim.operations import health as health_module
from registry_shim.operations.health import Health
from registry_shim.operations.metrics import Metrics
from registry_shim.operations.notify import notify, watchdog
from registry_shim.operations.pages import Pages
from registry_shim.operations.ui.page import StatusPage


async def registry(request: Request) -> Response:
    return Response(status=299, body=request.path.encode())


def pages(health: Health) -> Pages:
    metrics = Metrics()
    return Pages(health, metrics, StatusPage(metrics.totals, health.unready))


def test_a_node_is_ready_once_it_has_started_and_until_it_stops(tmp_path: Path) -> None:
    async def main() -> None:
        health = Health(tmp_path, writes=True)
        assert health.unready() == "it is starting"
        await health.start()
        assert health.unready() is None
        health.stop()
        assert health.unready() == "it is stopping"
        assert health.dead() is None
        await health.close()

    asyncio.run(main())
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_refuses_makes_a_node_unready_and_recovers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "root"
    root.mkdir()

    async def main() -> None:
        health = Health(root, writes=True, probe_seconds=0.01)
        await health.start()
        root.rmdir()
        await turned(health, to="cannot write to")
        assert health.dead() is None, "a restart would not help"
        root.mkdir()
        await turned(health, to=None)
        await health.close()

    asyncio.run(main())
    assert caplog.text.count("not ready") == 1


async def turned(health: Health, *, to: str | None) -> None:
    """Wait until it is ready, or unready for a reason that begins so."""
    async with asyncio.timeout(60):
        while (health.unready() or "ready")[: len(to or "ready")] != (to or "ready"):  # noqa: ASYNC110  # a disk has no event
            await asyncio.sleep(0.01)


def test_a_node_that_only_reads_needs_to_read(tmp_path: Path) -> None:
    async def main(root: Path) -> str | None:
        health = Health(root, writes=False)
        await health.start()
        problem = health.unready()
        await health.close()
        return problem

    assert asyncio.run(main(tmp_path)) is None
    assert asyncio.run(main(tmp_path / "none")) == f"cannot read {tmp_path / 'none'}: No such file or directory"


@pytest.mark.parametrize(("number", "ready"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EROFS, False)])
def test_a_full_disk_still_serves_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, ready: bool
) -> None:
    def refuse(_: Path, _content: bytes) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_bytes", refuse)

    async def main() -> None:
        health = Health(tmp_path, writes=True)
        await health.start()
        assert (health.unready() is None) is ready
        await health.close()

    asyncio.run(main())


def test_a_disk_that_stands_still_is_death(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_module, "_STALE_SECONDS", 0.05)
    released = threading.Event()
    real = health_module._look
    probes = 0

    def stuck(root: Path, writes: bool) -> str | None:
        nonlocal probes
        probes += 1
        if probes > 1:
            released.wait(10)
        return real(root, writes)

    monkeypatch.setattr(health_module, "_look", stuck)

    async def main() -> None:
        health = Health(tmp_path, writes=True, probe_seconds=0.01)
        await health.start()
        async with asyncio.timeout(60):
            while health.dead() is None:  # noqa: ASYNC110  # a clock has no event
                await asyncio.sleep(0.01)
        assert health.unready() == f"{tmp_path} does not answer"
        released.set()
        await health.close()

    asyncio.run(main())


def test_pages_around_a_registry(tmp_path: Path) -> None:
    async def main() -> None:
        health = Health(tmp_path, writes=True)
        all_, probes = (pages(health).around(registry, only_health=only) for only in (False, True))
        for handler in (all_, probes):
            assert (await handler(Request(method="GET", path="/readyz"))).status == 503
            assert (await handler(Request(method="GET", path="/healthz"))).body == b"ok\n"
            assert (await handler(Request(method="POST", path="/healthz"))).status == 405
            assert (await handler(Request(method="GET", path="/v2/"))).status == 299
            assert (await handler(Request(method="GET", path="/other"))).status == 299
        assert (await all_(Request(method="GET", path="/metrics"))).status == 200
        assert (await all_(Request(method="DELETE", path="/metrics"))).status == 405
        assert (await all_(Request(method="GET", path="/ui"))).status == 200
        assert (await probes(Request(method="GET", path="/metrics"))).status == 299
        assert (await pages(health).handle(Request(method="GET", path="/v2/"))).status == 404

    asyncio.run(main())


@pytest.mark.slow
@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    name = f"@registry-shim-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0" + name[1:] if abstract else name)
        systemd.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        notify("READY=1")
        assert systemd.recv(100) == b"READY=1"


@pytest.mark.slow
def test_where_there_is_no_systemd_nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("", "relative", str(tmp_path / "none")):
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        notify("READY=1")
    monkeypatch.delenv("NOTIFY_SOCKET")
    notify("READY=1")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_watchdog_is_fed_while_the_node_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))

    async def main() -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(str(tmp_path / "notify"))
            systemd.setblocking(False)
            health = Health(tmp_path, writes=True)
            feeding = asyncio.create_task(watchdog(health))
            for _ in range(2):
                async with asyncio.timeout(60):
                    assert await asyncio.get_running_loop().sock_recv(systemd, 100) == b"WATCHDOG=1"
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)

    asyncio.run(main())


def test_without_a_watchdog_there_is_nothing_to_feed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    asyncio.run(asyncio.wait_for(watchdog(Health(tmp_path, writes=False)), 5))
