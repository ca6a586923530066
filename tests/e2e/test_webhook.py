"""`modelcar admission serve` as a process: in a cluster and without one, changed, hurried and ended."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from modelcar.cluster.resources import MUTATING_WEBHOOKS, SECRETS
from modelcar.cluster.testing import MemoryCluster
from modelcar.errors import ClusterForbidden
from modelcar.serving.address import Address
from tests.e2e.support.commands import BIN, serving
from tests.support.api_server import served
from tests.support.authority import Authority
from tests.support.reviews import a_pod, a_review, raw, response_of
from tests.support.waiting import eventually
from tests.support.webhooks import Answered, Client, connect

SERVICE = "modelcar-webhook.models.svc"


def asking() -> bytes:
    pod = a_pod(modelcar_dev__model="oci://127.0.0.1:1/acme/llm:v1")
    pod["metadata"]["annotations"]["modelcar.dev/mode"] = "image-volume"  # so that nothing has to be known of images
    return raw(a_review(pod))


@dataclass(frozen=True)
class Process:
    """A webhook, where it listens, and what it says."""

    popen: subprocess.Popen[bytes]
    folder: Path
    address: Address
    operations: Address

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def look(self, path: str) -> Answered:
        async def ask() -> Answered:
            async with connect(self.operations) as client:
                return await client.ask(method="GET", target=path, kind=None)

        return asyncio.run(ask())

    async def connect(self, trust: ssl.SSLContext, name: str | None = None) -> Client:
        host, port = self.address.host, self.address.port
        return Client(*await asyncio.open_connection(host, port, ssl=trust, server_hostname=name or host))

    def ask(self, trust: ssl.SSLContext, body: bytes, name: str | None = None) -> Answered:
        async def main() -> Answered:
            client = await self.connect(trust, name)
            try:
                return await client.ask(body)
            finally:
                await client.close()

        return asyncio.run(main())


@contextmanager
def webhook(folder: Path, settings: dict[str, Any], *options: str | Path) -> Iterator[Process]:
    """It runs with these settings, in `webhook.yaml`, as long as the block does."""
    config, ready = folder / "webhook.yaml", folder / "ready"
    config.write_text(json.dumps(settings))
    listen = ("--listen", "127.0.0.1:0", "--operations-listen", "127.0.0.1:0", "--ready-file", ready)
    command = (BIN / "modelcar", "admission", "serve", "--config", config, *listen, *options)
    without = {"KUBECONFIG": str(folder / "none"), "KUBERNETES_SERVICE_HOST": ""}
    with serving(folder / "log", *command, environment=without) as popen:
        eventually(lambda: ready.exists() or popen.poll() is not None, "the webhook begins")
        assert popen.poll() is None, (folder / "log").read_text()
        addresses = [Address.parse(line) for line in ready.read_text().splitlines()]
        yield Process(popen, folder, *addresses)


def own_certificate(folder: Path) -> tuple[ssl.SSLContext, list[str | Path]]:
    """What clients trust, and the options that name a certificate."""
    authority = Authority(folder / "authority")
    certificate, key = authority.issue_for_loopback("webhook")
    return ssl.create_default_context(cafile=authority.ca_file), ["--tls-cert", certificate, "--tls-key", key]


SETTINGS: dict[str, Any] = {
    "cluster": {"image_volumes": True, "image_volume_sub_path": True},
    "server": {"drain_seconds": 1.0, "log": {"format": "json", "level": "info"}},
}


def is_patched(answer: Answered) -> bool:
    return answer.status == 200 and "patch" in response_of(answer.body)


def test_without_a_cluster(tmp_path: Path) -> None:
    trust, options = own_certificate(tmp_path)
    with webhook(tmp_path, SETTINGS, *options) as process:
        assert is_patched(process.ask(trust, asking()))
        assert process.look("/readyz").status == 200
        assert b"modelcar_admission_decisions_total" in process.look("/metrics").body
        lines = [json.loads(line) for line in process.log.splitlines() if line.startswith("{")]
        (decision,) = [line for line in lines if "decision" in line]
        assert (decision["decision"], decision["namespace"], decision["object"]) == ("patched", "models", "web-7d4b9c-")


def test_the_kill_switch_by_the_file_and_a_signal(tmp_path: Path) -> None:
    trust, options = own_certificate(tmp_path)
    with webhook(tmp_path, SETTINGS, *options) as process:
        assert is_patched(process.ask(trust, asking()))
        (tmp_path / "webhook.yaml").write_text(json.dumps({**SETTINGS, "enabled": False}))
        process.popen.send_signal(signal.SIGHUP)
        eventually(lambda: not is_patched(process.ask(trust, asking())), "pods are let be")
        assert "listen changes with the next restart" not in process.log


def test_hostile_requests_are_answered_and_leave_it_alive(tmp_path: Path) -> None:
    trust, options = own_certificate(tmp_path)
    with webhook(tmp_path, SETTINGS, *options) as process:
        deep = b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":' + b'{"a":' * 500_000
        for body in (b"", b"{", b"\xff" * 1000, b"[" * 3_000_000, deep, raw({"kind": "AdmissionReview"})):
            assert process.ask(trust, body).status == 400
        nested: Any = "x"
        for _ in range(900):
            nested = [nested]
        pod = a_pod() | {"spec": {"containers": nested}}
        pod["metadata"]["annotations"]["modelcar.dev/models"] = "[" * 100_000
        assert response_of(process.ask(trust, raw(a_review(pod))).body)["allowed"] is False
        assert is_patched(process.ask(trust, asking()))
        assert process.look("/healthz").status == 200
        assert "Traceback" not in process.log


def test_large_requests_at_once_stay_within_the_memory_of_the_manifests(tmp_path: Path) -> None:
    trust, options = own_certificate(tmp_path)
    body = b"[" + b",".join([b"{}"] * 1_000_000) + b"]"  # 3 MB, and in memory 90

    async def ask(process: Process) -> int:
        client = await process.connect(trust)
        try:
            return (await client.ask(body)).status
        finally:
            await client.close()

    async def main(process: Process) -> set[int]:
        return set(await asyncio.gather(*(ask(process) for _ in range(40))))

    with webhook(tmp_path, SETTINGS, *options) as process:
        assert asyncio.run(main(process)) == {400, 503}
        status = Path(f"/proc/{process.popen.pid}/status").read_text()
        assert int(status.partition("VmHWM:")[2].split()[0]) < 512 << 10  # kB


def test_an_end_under_load_loses_no_request(tmp_path: Path) -> None:
    """Clients are as those of a Service: they stop opening connections soon after it says that it is not ready."""
    trust, options = own_certificate(tmp_path)

    async def main(process: Process) -> tuple[int, int]:
        sent = answered = 0
        told = asyncio.Event()

        async def load() -> None:
            nonlocal sent, answered
            while not told.is_set():
                client = await process.connect(trust)
                while not told.is_set():
                    sent += 1
                    answer = await client.ask(asking())
                    assert is_patched(answer)
                    answered += 1
                    if answer.headers.get("connection") == "close":
                        break
                await client.close()

        clients = [asyncio.ensure_future(load()) for _ in range(6)]
        while answered < 100:  # noqa: ASYNC110  # the clients have no event for it
            await asyncio.sleep(0.01)
        process.popen.terminate()
        while True:
            async with connect(process.operations) as prober:
                if (await prober.ask(method="GET", target="/readyz", kind=None)).status == 503:
                    break
        await asyncio.sleep(0.2)
        told.set()
        await asyncio.gather(*clients)
        return sent, answered

    with webhook(tmp_path, SETTINGS, *options) as process:
        sent, answered = asyncio.run(main(process))
        assert process.popen.wait(20) == 0
    assert sent == answered >= 100


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    _, options = own_certificate(tmp_path)
    slow = {**SETTINGS, "server": {"drain_seconds": 300.0}}
    with webhook(tmp_path, slow, *options) as process:
        process.popen.terminate()
        eventually(lambda: process.look("/readyz").status == 503, "it is not ready")
        process.popen.terminate()
        assert process.popen.wait(15) == 0


def kubeconfig(folder: Path, server: str) -> Path:
    path = folder / "kubeconfig"
    document = {
        "current-context": "it",
        "contexts": [{"name": "it", "context": {"cluster": "it", "namespace": "models"}}],
        "clusters": [{"name": "it", "cluster": {"server": server}}],
    }
    path.write_text(json.dumps(document))
    return path


def configuration() -> dict[str, Any]:
    service = {"namespace": "models", "name": "modelcar-webhook", "path": "/mutate"}
    hook = {"name": "pods.modelcar.dev", "clientConfig": {"service": service}, "sideEffects": "None"}
    return {"metadata": {"name": "modelcar"}, "webhooks": [hook]}


def bundle(cluster: MemoryCluster) -> ssl.SSLContext:
    """What the API server trusts."""
    (hook,) = cluster.get(MUTATING_WEBHOOKS, "modelcar")["webhooks"]
    return ssl.create_default_context(cadata=base64.b64decode(hook["clientConfig"]["caBundle"]).decode())


def test_in_a_cluster_two_replicas_share_what_one_of_them_makes(tmp_path: Path) -> None:
    cluster = MemoryCluster((MUTATING_WEBHOOKS, configuration()))
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    with (
        served(cluster) as server,
        webhook(folders[0], SETTINGS, "--kubeconfig", kubeconfig(folders[0], server)) as one,
        webhook(folders[1], SETTINGS, "--kubeconfig", kubeconfig(folders[1], server)) as two,
    ):
        for process in (one, two):
            assert is_patched(process.ask(bundle(cluster), asking(), SERVICE))
            assert b"modelcar_admission_certificate_end_seconds 0.0" not in process.look("/metrics").body
        secret = cluster.get(SECRETS, "modelcar-webhook-certificates", "models")
        assert b"PRIVATE KEY" in base64.b64decode(secret["data"]["tls.key"])
        assert "PRIVATE" not in one.log + two.log
    assert [method for method, plural, _ in cluster.requests if plural == SECRETS.plural].count("create") == 1


def test_a_cluster_that_refuses_is_one_clear_line(tmp_path: Path) -> None:
    cluster = MemoryCluster()

    def refuse(*_: object) -> None:
        raise ClusterForbidden("secrets is forbidden", status=403)

    cluster.before = refuse
    with served(cluster) as server, pytest.raises(AssertionError) as failure:  # noqa: SIM117  # what fails is its start
        with webhook(tmp_path, SETTINGS, "--kubeconfig", kubeconfig(tmp_path, server)):
            pass
    said = str(failure.value)
    assert "modelcar: " in said
    assert "forbidden" in said
    assert "Traceback" not in said
