"""Nodes: an object in the API server, with a shim and its agent on this machine."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.e2e.support.commands import BIN, serving
from tests.e2e.support.small_nodes import Running, Upstream, node
from tests.support.kubernetes import Kubernetes
from tests.support.waiting import eventually

__all__ = ["ACCOUNT", "SHIM", "Node", "add_node", "controller", "shim_pod"]

SHIM: Final = "registry-shim"
ACCOUNT: Final = "registry-shim"


@dataclass(frozen=True, kw_only=True)
class Node:
    """One that runs; `shim` is its cache, `pod` the one that the DaemonSet has there."""

    cluster: Kubernetes
    name: str
    pod: str
    shim: Running
    kubeconfig: Path

    @property
    def labels(self) -> dict[str, str]:
        found: dict[str, str] = self.cluster.get("node", self.name)["metadata"]["labels"]
        return found

    def annotate(self, text: str) -> None:
        self.cluster.kubectl("annotate", "--overwrite", "node", self.name, text)

    @contextmanager
    def on(self) -> Iterator[subprocess.Popen[bytes]]:
        """Its shim and its agent, with the token that the agent's pod has there; yields the agent."""
        log = self.shim.folder / "agent.log"
        options = ("--root", self.shim.root, "--node-name", self.name, "--kubeconfig", self.kubeconfig)
        with ExitStack() as stack:
            stack.enter_context(self.shim.on())
            yield stack.enter_context(serving(log, BIN / "registry-shim", "node", *options, "--interval", "1"))
        assert "Traceback" not in log.read_text()


def add_node(cluster: Kubernetes, name: str, folder: Path, upstream: Upstream, **labels: str) -> Node:
    """A node that is ready, as its kubelet would say, with the pod that the DaemonSet makes there."""
    meta = {"name": name, "labels": {"kubernetes.io/os": "linux", **labels}}
    cluster.apply({"apiVersion": "v1", "kind": "Node", "metadata": meta})
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "ready"}
    status = json.dumps({"status": {"conditions": [ready]}})
    cluster.kubectl("patch", "node", name, "--subresource=status", "--type=merge", "-p", status)
    pod = shim_pod(cluster, name)
    kubeconfig = cluster.config_for(SHIM, ACCOUNT, "Pod", pod)
    return Node(cluster=cluster, name=name, pod=pod, shim=node(folder / name, upstream), kubeconfig=kubeconfig)


def shim_pod(cluster: Kubernetes, node: str) -> str:
    """The DaemonSet's own pod for this node, put there as the scheduler would; its name."""

    def for_node() -> list[str]:
        items = cluster.get("-n", SHIM, "pods")["items"]
        return [pod["metadata"]["name"] for pod in items if json.dumps(node) in json.dumps(pod["spec"]["affinity"])]

    eventually(for_node, "the DaemonSet makes a pod for it", within=60)
    (name,) = for_node()
    binding: dict[str, Any] = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}}
    binding |= {"target": {"apiVersion": "v1", "kind": "Node", "name": node}}
    status, told, _ = cluster.request("POST", f"/api/v1/namespaces/{SHIM}/pods/{name}/binding", binding)
    assert status == 201, told
    return name


@contextmanager
def controller(cluster: Kubernetes, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`modelcar controller` with the account of its Deployment."""
    kubeconfig = cluster.config_for("modelcar-system", "modelcar-controller")
    command = (BIN / "modelcar", "controller", "--kubeconfig", kubeconfig, "--listen", "127.0.0.1:0")
    with serving(log, *command) as process:
        yield process
    assert "Traceback" not in log.read_text()
    assert "service account needs a role" not in log.read_text()
