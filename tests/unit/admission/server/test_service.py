"""A webhook that runs: configuration that changes, certificates that are renewed, and an end that loses nothing."""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from modelcar.admission.admit import Caller, Offline, Pod
from modelcar.admission.asked import Asked
from modelcar.admission.facts import Facts
from modelcar.admission.server.service import serving
from modelcar.admission.server.settings import OwnCertificates, WebhookSettings
from modelcar.admission.settings import AdmissionSettings, TrustSettings
from modelcar.errors import ClusterUnreachable, UsageError
from tests.support.reviews import a_pod, a_review, raw, response_of
from tests.support.webhooks import Client, Running, connect, running, webhook_settings

from .vaults import MemoryVault

pytestmark = pytest.mark.slow

NAME = "modelcar-webhook.models.svc"
OWN = OwnCertificates(namespace="models")


def asking() -> bytes:
    pod = a_pod(modelcar_dev__model="oci://registry.example/acme/llm:v1")
    pod["spec"]["securityContext"] = {"runAsUser": 1000, "runAsGroup": 1000}
    return raw(a_review(pod))


async def is_patched(webhook: Running) -> bool:
    return "patch" in response_of((await webhook.ask(asking())).body)


@dataclass
class Slow(Offline):
    """Takes as long as it is told to."""

    go: threading.Event

    def facts(self, pod: Pod, asked: Asked, caller: Caller, settings: AdmissionSettings) -> Facts:
        self.go.wait(20)
        return super().facts(pod, asked, caller, settings)


class Configured:
    """A webhook with a file that may change."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.file = folder / "webhook.yaml"
        self.file.write_text("enabled: true\n")
        server = webhook_settings().server
        self.over: Callable[[WebhookSettings], WebhookSettings] = lambda read: replace(read, server=server)
        self.running = running(folder, config=self.file, overridden=self.over, **options)


async def reloaded(webhook: Running, configured: Configured, text: str) -> bool:
    configured.file.write_text(text)
    assert webhook.service.reloader is not None
    return await webhook.service.reloader.reload()


def test_the_kill_switch_needs_no_restart(tmp_path: Path) -> None:
    async def main() -> None:
        configured = Configured(tmp_path)
        async with configured.running as webhook:
            assert await is_patched(webhook)
            assert await reloaded(webhook, configured, "enabled: false\n")
            assert not await is_patched(webhook)
            assert b"modelcar_admission_enabled 0.0" in (await webhook.look("/metrics")).body
            assert await reloaded(webhook, configured, "enabled: true\n")
            assert await is_patched(webhook)

    asyncio.run(main())


def test_other_rewriting_counts_from_the_next_pod_on(tmp_path: Path) -> None:
    async def main() -> bytes:
        configured = Configured(tmp_path)
        async with configured.running as webhook:
            assert await reloaded(webhook, configured, "rewriting: {path: /srv/elsewhere}\n")
            return (await webhook.ask(asking())).body

    response = response_of(asyncio.run(main()))
    assert response["allowed"] is True


def test_what_is_wrong_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        configured = Configured(tmp_path)
        async with configured.running as webhook:
            assert not await reloaded(webhook, configured, "enabled: nope\n")
            assert await is_patched(webhook)

    asyncio.run(main())
    assert f"{tmp_path}/webhook.yaml:1: enabled is true or false, not 'nope'" in caplog.text


def test_policies_that_cannot_be_read_change_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(wanted: TrustSettings) -> None:
        raise UsageError(f"no policy in {wanted.policies[0]}")

    async def main() -> None:
        configured = Configured(tmp_path, retrusted=refuse)
        async with configured.running as webhook:
            text = "enabled: false\ntrust: {mode: enforce, policies: [/nowhere]}\n"
            assert not await reloaded(webhook, configured, text)
            assert await is_patched(webhook)

    asyncio.run(main())
    assert "not changed: no policy in /nowhere" in caplog.text


def test_certificates_of_its_own_are_published_before_it_is_ready(tmp_path: Path) -> None:
    async def main() -> None:
        vault = MemoryVault()
        settings = replace(webhook_settings(), server=replace(webhook_settings().server, certificates=OWN))
        async with serving(settings, Offline(), vault=vault) as service:
            trust = ssl.create_default_context(cadata=vault.bundles[-1].decode())
            reader, writer = await asyncio.open_connection(
                service.address.host, service.address.port, ssl=trust, server_hostname=NAME
            )
            client = Client(reader, writer)
            assert (await client.ask(asking())).status == 200
            await client.close()

    asyncio.run(main())


def test_without_certificates_it_does_not_begin() -> None:
    async def begin(settings: WebhookSettings, vault: MemoryVault | None) -> None:
        async with serving(settings, Offline(), vault=vault):
            pass

    with pytest.raises(UsageError, match="there is no certificate"):
        asyncio.run(begin(webhook_settings(), None))
    vault = MemoryVault()
    vault.broken = ClusterUnreachable("the API server does not answer")
    with pytest.raises(ClusterUnreachable):
        asyncio.run(begin(webhook_settings(certificates=OWN), vault))


def test_certificates_are_renewed_under_load_and_no_request_fails(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "modelcar.admission")

    async def main() -> int:
        vault, done, over = MemoryVault(), 0, asyncio.Event()

        async def load() -> None:
            nonlocal done
            while not over.is_set():
                trust = ssl.create_default_context(cadata=vault.bundles[-1].decode())
                reader, writer = await asyncio.open_connection(
                    service.address.host, service.address.port, ssl=trust, server_hostname=NAME
                )
                client = Client(reader, writer)
                for _ in range(3):
                    assert (await client.ask(asking())).status == 200
                    done += 1
                await client.close()

        async with serving(webhook_settings(certificates=OWN), Offline(), vault=vault) as service:
            keeper = service.keeper
            assert keeper is not None
            clients = [asyncio.ensure_future(load()) for _ in range(4)]
            for number in range(10):
                keeper._names = (NAME, f"renewed-{number}.svc")  # another name is another certificate
                await keeper.look()
                before = done
                async with asyncio.timeout(60):
                    while done < before + 10:  # noqa: ASYNC110  # the clients have no event for it
                        await asyncio.sleep(0.01)
            over.set()
            await asyncio.gather(*clients)
        return vault.writes

    assert asyncio.run(main()) == 11
    assert caplog.text.count("the webhook's certificate is valid until") == 11


def test_an_end_under_load_loses_no_request(tmp_path: Path) -> None:
    """Clients ask as long as it is ready. Whatever they have sent is answered, also on connections that were open."""

    async def main() -> tuple[int, int]:
        sent, answered, some = 0, 0, asyncio.Event()

        async def load(webhook: Running) -> None:
            nonlocal sent, answered
            while webhook.service.health.unready() is None:
                async with connect(webhook.service.address, webhook.trust) as client:
                    while webhook.service.health.unready() is None:
                        sent += 1
                        answer = await client.ask(asking())
                        assert answer.status == 200
                        answered += 1
                        some.set() if answered > 100 else None
                        if answer.headers.get("connection") == "close":
                            break

        async with running(tmp_path) as webhook:
            clients = [asyncio.ensure_future(load(webhook)) for _ in range(8)]
            await asyncio.wait_for(some.wait(), 60)
            webhook.service.drain()
            await asyncio.gather(*clients)  # in `drain_seconds`, those hear of it who are sending now
        return sent, answered

    sent, answered = asyncio.run(main())
    assert sent == answered > 100


def test_what_runs_at_the_end_is_answered(tmp_path: Path) -> None:
    async def main() -> None:
        resolver = Slow(threading.Event())
        async with running(tmp_path, resolver) as webhook:
            request = asyncio.ensure_future(webhook.ask(asking()))
            async with asyncio.timeout(60):
                while not webhook.service.listening.running:  # noqa: ASYNC110  # the listener has no event
                    await asyncio.sleep(0.01)
            webhook.service.drain()
            asyncio.get_running_loop().call_later(0.2, resolver.go.set)
        answer = await request
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        with pytest.raises(ConnectionRefusedError):
            await webhook.ask(asking())

    asyncio.run(main())
