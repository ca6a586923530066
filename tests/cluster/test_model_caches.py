"""ModelCaches in a real API server: the controller, agents and shims run with the accounts of the manifests."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.cluster.support.nodes import ACCOUNT, SHIM, Node, add_node, controller
from tests.cluster.support.pods import template
from tests.cluster.support.webhook import Webhook
from tests.e2e.support.small_nodes import HOST, MIB, Upstream
from tests.support.kubernetes import Kubernetes
from tests.support.waiting import eventually

pytestmark = pytest.mark.conformance

IMAGE = f"{HOST}/acme/llm:v1"


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[Upstream]:
    (tmp_path / "upstream").mkdir()
    with Upstream(tmp_path / "upstream", ("--writable",)).on() as running:
        assert isinstance(running, Upstream)
        yield running


@pytest.fixture
def installed(webhook: Webhook, tmp_path: Path) -> Iterator[Kubernetes]:
    """With the controller running, and without a trace of a ModelCache or node afterwards."""
    cluster = webhook.cluster
    with controller(cluster, tmp_path / "controller.log"):
        yield cluster
        cluster.kubectl("delete", "nodes", "--all", "--timeout=60s")  # with them nothing is in use any more
        cluster.kubectl("delete", "modelcaches", "--all", "--timeout=60s")
        eventually(lambda: not cluster.get("modelnodes")["items"], "ModelNodes go with their nodes", within=60)


@pytest.fixture
def add(installed: Kubernetes, upstream: Upstream, tmp_path: Path) -> Callable[..., Node]:
    """Nodes of the test's own."""
    prefix = uuid4().hex[:6]

    def made(name: str, **labels: str) -> Node:
        return add_node(installed, f"{prefix}-{name}", tmp_path, upstream, **labels)

    return made


def want(cluster: Kubernetes, **spec: Any) -> None:
    body = {"apiVersion": "modelcar.dev/v1alpha1", "kind": "ModelCache", "metadata": {"name": "llm"}}
    cluster.apply({**body, "spec": {"image": IMAGE, **spec}})


def status(cluster: Kubernetes) -> dict[str, Any]:
    found: dict[str, Any] = cluster.get("modelcache", "llm").get("status", {})
    return found


def row(cluster: Kubernetes, *options: str) -> dict[str, str]:
    """The ModelCache as `kubectl get` shows it."""
    heads, cells = cluster.kubectl("get", "modelcaches", *options).splitlines()
    columns = [(found[0], found.start()) for found in re.finditer(r"\S+", heads)]
    ends = [*(start for _, start in columns[1:]), None]
    return {name: cells[start:end].strip() for (name, start), end in zip(columns, ends, strict=True)}


def waiting_pod(name: str, on: str, image: str = IMAGE) -> dict[str, Any]:
    """As the webhook leaves it, and the scheduler after it."""
    ours = {"name": "modelcar-model", "image": image, "restartPolicy": "Always"}
    made = template({}, initContainers=[ours], nodeName=on)
    return {"apiVersion": "v1", "kind": "Pod", **made, "metadata": {"name": name}}


def create(cluster: Kubernetes, namespace: str, body: dict[str, Any]) -> None:
    cluster.kubectl("-n", namespace, "create", "-f", "-", stdin=json.dumps(body))


def test_from_pending_to_ready_to_gone(
    installed: Kubernetes, namespace: str, upstream: Upstream, add: Callable[..., Node]
) -> None:
    digest = upstream.push("acme/llm", 24 * MIB, seed=1)
    first, second = add("a", gpu="yes"), add("b", gpu="yes")
    add("c")
    want(installed, nodeSelector={"matchLabels": {"gpu": "yes"}})
    eventually(lambda: status(installed).get("phase") == "Pending", "nobody has it", within=60)
    assert status(installed)["copies"]["wanted"] == 2
    assert "no registry-shim has reported" in str(status(installed)["nodes"])
    with first.on():
        first.shim.ask("precache", "--limit-rate", "4MiB/s")
        create(installed, namespace, waiting_pod("server", first.name))
        eventually(lambda: status(installed)["phase"] == "Downloading", "it comes", within=60)
        eventually(lambda: "ModelPulling" in described(installed, namespace), "the pod is told", within=60)
        eventually(lambda: " % (" in described(installed, namespace), "and how far it is", within=60)
        eventually(lambda: row(installed)["READY"] == "1/2", "on one of two", within=90)
        eventually(lambda: "ModelReady" in described(installed, namespace), "the pod is told that, too", within=60)
        with second.on():
            eventually(lambda: row(installed)["READY"] == "2/2", "on both", within=90)
            key = f"models.modelcar.dev/{digest.partition(':')[2][:40]}"
            eventually(lambda: {first.labels.get(key), second.labels.get(key)} == {"ready"}, "labels", within=60)
        shown = row(installed, "-o", "wide")
        assert shown["AGE"]
        assert {k: v for k, v in shown.items() if k not in ("AGE", "SIZE")} == {
            "NAME": "llm",
            "IMAGE": IMAGE,
            "READY": "2/2",
            "PROGRESS": "100%",
            "PHASE": "Ready",
        }
        assert (status(installed)["digest"], status(installed)["size"] >= 24 * MIB) == (digest, True)

        installed.kubectl("delete", "modelcache", "llm", "--wait=false")
        eventually(
            lambda: f"used by {namespace}/server on {first.name}" in str(status(installed)), "it is held", within=60
        )
        assert row(installed, "-o", "wide")["PHASE"] == "Deleting"
        installed.kubectl("-n", namespace, "delete", "pod", "server", "--force", "--grace-period=0")
        eventually(lambda: not installed.get("modelcaches")["items"], "it is let go", within=60)
        eventually(lambda: not first.shim.state()["images"][0]["pinned"], "so is the pin", within=30)


def described(cluster: Kubernetes, namespace: str) -> str:
    """What `kubectl describe pod` says of events."""
    return cluster.kubectl("-n", namespace, "describe", "pod", "server").partition("Events:")[2]


def test_what_has_no_room_says_so(installed: Kubernetes, upstream: Upstream, add: Callable[..., Node]) -> None:
    upstream.push("acme/llm", 9 * MIB, seed=1)
    node = add("a")
    node.annotate("modelcar.dev/cache-limit=5Mi")
    want(installed)
    with node.on():
        eventually(lambda: status(installed).get("phase") == "Failed", "it does not fit", within=60)
        eventually(
            lambda: f"needs 9.4 MB, node {node.name} has 5.2 MB" in str(status(installed)["nodes"]), "why", within=60
        )
        assert node.shim.state()["blobs"] == []
        node.annotate("modelcar.dev/cache-limit=50Mi")
        eventually(lambda: row(installed)["READY"] == "1/1", "with more room it comes", within=60)


def test_nodes_come_and_go(installed: Kubernetes, upstream: Upstream, add: Callable[..., Node]) -> None:
    upstream.push("acme/llm", 3 * MIB, seed=1)
    node = add("a")
    other = add("b")
    want(installed)
    with node.on():
        eventually(lambda: row(installed)["READY"] == "1/2", "one of two", within=90)
        installed.kubectl("delete", "node", other.name)
        eventually(lambda: row(installed)["READY"] == "1/1", "of those that are", within=60)
        names = [item["metadata"]["name"] for item in installed.get("modelnodes")["items"]]
        assert names == [node.name]
        add("c")
        eventually(lambda: row(installed)["READY"] == "1/2", "one more", within=60)


@pytest.fixture
def beside(add: Callable[..., Node]) -> Node:
    """Another node."""
    return add("b")


@pytest.fixture
def node(installed: Kubernetes, add: Callable[..., Node], beside: Node) -> Node:
    """A node, of which there is a ModelNode as of the other."""
    made = add("a")
    want(installed)
    eventually(lambda: len(installed.get("modelnodes")["items"]) == 2, "ModelNodes are made", within=60)
    return made


def patched(cluster: Kubernetes, token: str, path: str, change: dict[str, Any]) -> str:
    """What the API server says to it; nothing if it does it."""
    status, told, _ = cluster.request("PATCH", path, change, token=token)
    return "" if status == 200 else str(told["message"])


def test_a_node_writes_its_own_and_nothing_else(node: Node, beside: Node) -> None:
    """Its agent's token in other hands."""
    token = node.cluster.token_for(SHIM, ACCOUNT, "Pod", node.pod)

    def said(path: str, change: dict[str, Any]) -> str:
        return patched(node.cluster, token, path, change)

    models, nodes = "/apis/modelcar.dev/v1alpha1/modelnodes", "/api/v1/nodes"
    status: dict[str, Any] = {"status": {"models": []}}
    assert said(f"{models}/{node.name}/status", status) == ""
    assert "named after that node" in said(f"{models}/{beside.name}/status", status)
    assert "cannot patch" in said(f"{models}/{node.name}", {"spec": {"models": []}})
    ours = "models.modelcar.dev/abc"
    assert said(f"{nodes}/{node.name}", {"metadata": {"labels": {ours: "ready"}}}) == ""
    assert said(f"{nodes}/{node.name}", {"metadata": {"labels": {ours: None}}}) == ""
    assert "named after that node" in said(f"{nodes}/{beside.name}", {"metadata": {"labels": {ours: "ready"}}})
    owner = {"apiVersion": "v1", "kind": "Node", "name": beside.name, "uid": "x"}
    for change in (
        {"metadata": {"labels": {"gpu": "yes"}}},
        {"metadata": {"labels": {"kubernetes.io/os": None}}},
        {"metadata": {"annotations": {"modelcar.dev/cache-limit": "99Ti"}}},
        {"metadata": {"finalizers": ["example.com/stay"]}},
        {"metadata": {"ownerReferences": [owner]}},
        {"spec": {"unschedulable": True}},
    ):
        assert "and nothing else of it" in said(f"{nodes}/{node.name}", change), change
    assert "cannot patch" in said(f"{nodes}/{node.name}/status", {"status": {"conditions": []}})


def test_a_token_that_names_no_node_writes_nothing(node: Node) -> None:
    """It was asked for by hand, and not by a kubelet for a pod."""
    change = {"metadata": {"labels": {"models.modelcar.dev/abc": "ready"}}}
    token = node.cluster.token_for(SHIM, ACCOUNT)
    assert "named after that node" in patched(node.cluster, token, f"/api/v1/nodes/{node.name}", change)


def test_others_are_not_held_to_what_a_node_is(node: Node) -> None:
    """The policy speaks to the shim's account alone."""
    node.cluster.kubectl("label", "node", node.name, "models.modelcar.dev/abc=ready", "gpu=yes")
    node.annotate("modelcar.dev/cache-limit=1Gi")
