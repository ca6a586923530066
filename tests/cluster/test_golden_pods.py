"""The folder of golden pods before a real API server: it takes what goes out, and asks and patches as we say.

What comes in is sent to a namespace whose pods go through the webhook, what is to come out to one whose pods do not;
with the API server's defaults in both they are the same.
"""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelcar.admission.admit import Caller, Offline, Pod, Resolver
from modelcar.admission.asked import Asked
from modelcar.admission.facts import Facts
from modelcar.admission.review import MAX_WARNING
from modelcar.admission.server.decisions import Decisions
from modelcar.admission.server.metrics import Metrics
from modelcar.admission.server.webhook import Webhook
from modelcar.admission.settings import AdmissionSettings, TrustMode
from modelcar.cluster.manifests.bundle import bundle
from modelcar.cluster.manifests.settings import Installation
from modelcar.renewed import Renewed
from modelcar.serving import http
from modelcar.serving.address import Address, bound
from modelcar.serving.settings import Limits
from modelcar.tls import server_context
from tests.cluster.support.namespaces import make_namespace
from tests.support.authority import Authority
from tests.support.kubernetes import Kubernetes
from tests.support.pods import CASES, Case
from tests.support.waiting import eventually

pytestmark = pytest.mark.conformance

REWRITTEN, PLAIN = "golden", "golden-plain"


@dataclass
class Chosen:
    """A resolver that is another one for every case, and how often it was asked about a pod."""

    decisions: Decisions = field(init=False)
    resolver: Resolver = field(default_factory=Offline)
    asked: int = 0

    def facts(self, pod: Pod, asked: Asked, caller: Caller, settings: AdmissionSettings) -> Facts:
        self.asked += 1
        return self.resolver.facts(pod, asked, caller, settings)

    def choose(self, case: Case) -> None:
        self.resolver, self.decisions.settings = case.resolver(), case.settings()


@contextmanager
def listening(folder: Path, chosen: Chosen) -> Iterator[tuple[int, bytes]]:
    """The webhook in a thread; yields its port and the authority to trust."""
    authority = Authority(folder)
    certificate, key = authority.issue_for_loopback("webhook")
    decisions = chosen.decisions = Decisions(AdmissionSettings(), chosen, threads=2, waiting=8)
    limits = {"request_seconds": 9.0, "body_bytes": 3 << 20, "bodies_bytes": 9 << 20}
    webhook = Webhook(decisions, Metrics(), **limits)  # type: ignore[arg-type]  # settings by their names
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    async def main() -> None:
        tls = Renewed("the certificate", lambda: server_context(certificate, key), (certificate, key))
        async with http.listening(webhook.handle, listener, limits=Limits(), tls=tls):
            await stop.wait()

    with bound(Address.parse("127.0.0.1:0")) as listener:
        thread = threading.Thread(target=loop.run_until_complete, args=(main(),), name="webhook")
        thread.start()
        try:
            yield int(listener.getsockname()[1]), authority.ca_file.read_bytes()
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()
            loop.close()
            decisions.close()


@pytest.fixture(scope="module")
def chosen(cluster: Kubernetes, workspace: Path) -> Iterator[Chosen]:
    """A webhook that gets what the one of the manifests would get, from one namespace."""
    for name in (REWRITTEN, PLAIN):
        make_namespace(cluster, name, {"modelcar.dev/inject": "false", "golden": name})
    resolver = Chosen()
    with listening(workspace / "golden", resolver) as (port, authority):
        made = bundle(Installation(trust=TrustMode.ENFORCE, policies={"a.yaml": ""}), ("webhook",))[-1]
        assert made["kind"] == "MutatingWebhookConfiguration"
        (webhook,) = made["webhooks"]
        webhook["clientConfig"] = {
            "url": f"https://127.0.0.1:{port}/mutate",
            "caBundle": base64.b64encode(authority).decode(),
        }
        webhook["namespaceSelector"] = {"matchLabels": {"golden": REWRITTEN}}
        cluster.apply({**made, "metadata": {"name": "golden"}})
        try:
            case = next(case for case in CASES if case.name == "annotations/one-model")
            resolver.choose(case)
            eventually(lambda: (send(cluster, case.pod(), REWRITTEN), resolver.asked)[1], "it is asked", within=30)
            yield resolver
        finally:
            cluster.kubectl("delete", "mutatingwebhookconfiguration", "golden")


NEVER_ASKED = {"trust/pod-without-model"}
"""Policies decide about pods that ask for models: the API server does not ask about others."""


def send(cluster: Kubernetes, pod: Pod, namespace: str) -> tuple[int, Any, list[str]]:
    """What becomes of a pod that nothing keeps."""
    meta = {"name": "pod", **pod.get("metadata", {}), "namespace": namespace}
    body = {"apiVersion": "v1", "kind": "Pod", **pod, "metadata": meta}
    # What the API server mounts by itself it mounts into all that it sees, and it does not yet see ours.
    body["spec"] = {"automountServiceAccountToken": False, **pod["spec"]}
    return cluster.request("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", body)


def plain(pod: Pod) -> dict[str, Any]:
    """Without what is another each time."""
    meta = {k: v for k, v in pod["metadata"].items() if k in ("annotations", "labels", "generateName")}
    return {"metadata": meta, "spec": pod["spec"]}


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_golden_pod(case: Case, cluster: Kubernetes, chosen: Chosen) -> None:
    chosen.choose(case)
    status, found, warnings = send(cluster, case.pod(), REWRITTEN)
    name, text = case.expected()
    if name == "denied.txt":
        assert status == 403, found
        for line in text.splitlines():
            assert line.removeprefix("hint: ") in found["message"]
        return
    assert status == 201, found["message"]
    wanted = case.pod() if case.name in NEVER_ASKED else yaml.safe_load(text)
    status, expected, usual = send(cluster, wanted, PLAIN)
    assert status == 201, expected["message"]
    assert plain(found) == plain(expected)
    told = [line.removeprefix("# warning: ") for line in text.splitlines() if line.startswith("# warning: ")]
    told = [warning if len(warning) <= MAX_WARNING else f"{warning[: MAX_WARNING - 1]}…" for warning in told]
    # `Offline` alone does not warn of what it cannot know.
    assert [w for w in warnings if w not in usual and "nobody was asked about its image" not in w] == told
