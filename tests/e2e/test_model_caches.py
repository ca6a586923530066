"""A ModelCache from the cluster to the bytes on a node: controller, agent and shim as they run, and only the API server
made of memory."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelcar.cluster.resources import EVENTS, MODEL_CACHES, MODEL_NODES, NODES, PODS
from modelcar.cluster.testing import MemoryCluster
from modelcar.errors import ClusterError, ClusterUnreachable
from tests.e2e.support.commands import BIN, serving
from tests.e2e.support.small_nodes import HOST, MIB, Running, Upstream, node
from tests.support.api_server import served
from tests.support.cluster_objects import check
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

IMAGE = f"{HOST}/acme/llm:v1"


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[Upstream]:
    (tmp_path / "upstream").mkdir()
    with Upstream(tmp_path / "upstream", ("--writable",)).on() as running:
        assert isinstance(running, Upstream)
        yield running


class Site:
    """A cluster of one node, `a`, with a shim on it."""

    def __init__(self, folder: Path, upstream: Upstream, **space: str | int) -> None:
        self.folder = folder
        self.shim = node(folder / "node", upstream, **space)
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        self.cluster = MemoryCluster((NODES, {"metadata": {"name": "a"}, "status": ready}))
        self.cluster.check = check

    @contextmanager
    def on(self) -> Iterator[str]:
        """The shim, and the API server; yields a kubeconfig."""
        with served(self.cluster) as server, self.shim.on():
            path = self.folder / "kubeconfig"
            named = {"current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c"}}]}
            path.write_text(yaml.safe_dump(named | {"clusters": [{"name": "c", "cluster": {"server": server}}]}))
            yield str(path)

    @contextmanager
    def program(self, name: str, *command: str | Path) -> Iterator[subprocess.Popen[bytes]]:
        with serving(self.folder / f"{name}.log", *command) as process:
            yield process
            assert "Traceback" not in (self.folder / f"{name}.log").read_text()

    def agent(self, kubeconfig: str) -> Any:
        options = ("--root", self.shim.root, "--node-name", "a", "--kubeconfig", kubeconfig, "--interval", "1")
        return self.program("agent", BIN / "registry-shim", "node", *options)

    def controller(self, kubeconfig: str) -> Any:
        return self.program(
            "controller", BIN / "modelcar", "controller", "--kubeconfig", kubeconfig, "--listen", "127.0.0.1:0"
        )

    def want(self, **spec: Any) -> None:
        self.cluster.create(MODEL_CACHES, {"metadata": {"name": "llm"}, "spec": {"image": IMAGE, **spec}})

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.cluster.get(MODEL_CACHES, "llm").get("status", {})
        return found

    def summary(self, part: str) -> str | None:
        found: str | None = self.status.get("summary", {}).get(part)
        return found


def test_a_model_comes_to_its_node_and_goes_when_nobody_uses_it(upstream: Upstream, tmp_path: Path) -> None:
    digest = upstream.push("acme/llm", 9 * MIB, 5 * MIB, seed=1)
    site = Site(tmp_path, upstream)
    with site.on() as kubeconfig, site.controller(kubeconfig), site.agent(kubeconfig):
        site.want(pin=True)
        eventually(lambda: site.summary("ready") == "1/1", "it is ready", within=60)
        assert site.status["digest"] == digest
        assert site.status["size"] >= 14 * MIB
        (image,) = site.shim.state()["images"]
        assert (image["whole"], image["pinned"]) == (True, True)
        key = "models.modelcar.dev/" + digest.partition(":")[2][:40]
        eventually(
            lambda: key in site.cluster.get(NODES, "a")["metadata"].get("labels", {}), "it is labelled", within=30
        )
        spec = {"nodeName": "a", "containers": [{"name": "modelcar", "image": f"oci://{IMAGE}"}]}
        site.cluster.create(PODS, {"metadata": {"name": "server", "namespace": "team"}, "spec": spec})
        site.cluster.delete(MODEL_CACHES, "llm")
        eventually(lambda: "team/server on a" in str(site.status.get("conditions")), "it is held", within=30)
        assert site.shim.state()["images"][0]["pinned"]
        site.cluster.delete(PODS, "server", "team")
        eventually(lambda: not site.cluster.list(MODEL_CACHES).items, "it is let go", within=60)
        eventually(lambda: not site.shim.state()["images"][0]["pinned"], "so is the pin", within=30)


def test_what_a_pod_waits_for_is_told_while_it_comes(upstream: Upstream, tmp_path: Path) -> None:
    upstream.push("acme/llm", 24 * MIB, seed=1)
    site = Site(tmp_path, upstream)
    with site.on() as kubeconfig, site.controller(kubeconfig), site.agent(kubeconfig):
        site.shim.ask("precache", "--limit-rate", "4MiB/s")
        site.want()
        waiting = {"nodeName": "a", "initContainers": [{"name": "modelcar-model", "image": IMAGE}]}
        site.cluster.create(PODS, {"metadata": {"name": "server", "namespace": "team"}, "spec": waiting})
        site.cluster.patch(PODS, "server", {"status": {"phase": "Pending"}}, "team", subresource="status")

        def told() -> str:
            events = site.cluster.list(EVENTS, "team").items
            return "\n".join(f"{event['reason']} {event['message']}" for event in events)

        eventually(lambda: "ModelPulling" in told() and " % (" in told(), "progress is told", within=60)
        eventually(lambda: "ModelReady" in told(), "and that it is there", within=60)
        eventually(lambda: site.summary("progress") == "100%", "the ModelCache says so, too", within=30)


def test_what_is_larger_than_the_limit_of_a_node_is_not_fetched_at_all(upstream: Upstream, tmp_path: Path) -> None:
    upstream.push("acme/llm", 9 * MIB, seed=1)
    site = Site(tmp_path, upstream)
    site.cluster.patch(NODES, "a", {"metadata": {"annotations": {"modelcar.dev/cache-limit": "5Mi"}}})
    with site.on() as kubeconfig, site.controller(kubeconfig), site.agent(kubeconfig):
        site.want()
        eventually(lambda: "node a has 5.2 MB" in str(site.status.get("nodes")), "it says why", within=60)
        assert site.status["phase"] == "Failed"
        assert "needs 9.4 MB" in str(site.status["nodes"])
        assert site.shim.state()["blobs"] == []
        site.cluster.patch(NODES, "a", {"metadata": {"annotations": {"modelcar.dev/cache-limit": "50Mi"}}})
        eventually(lambda: site.summary("ready") == "1/1", "with more room it comes", within=60)


def test_shim_agent_and_api_server_may_go_and_come_back(upstream: Upstream, tmp_path: Path) -> None:
    upstream.push("acme/llm", 24 * MIB, seed=1)
    site = Site(tmp_path, upstream)
    with ExitStack() as stack:
        with site.on() as kubeconfig, site.controller(kubeconfig):
            site.shim.ask("precache", "--limit-rate", "4MiB/s")
            with site.agent(kubeconfig) as agent:
                site.want()
                eventually(lambda: site.status.get("phase") == "Downloading", "it is under way", within=60)
                agent.send_signal(signal.SIGKILL)
                agent.wait()
            site.shim.process.send_signal(signal.SIGKILL)
            site.shim.process.wait()
        kubeconfig = stack.enter_context(site.on())
        stack.enter_context(site.controller(kubeconfig))
        stack.enter_context(site.agent(kubeconfig))

        def away(*_: object) -> None:
            raise ClusterUnreachable("the API server is away", status=503)

        site.cluster.before = away
        with pytest.raises(ClusterError):
            site.cluster.list(MODEL_NODES)
        eventually(lambda: is_ready(site.shim), "the node goes on by itself", within=60)
        site.cluster.before = lambda *_: None
        eventually(lambda: site.summary("ready") == "1/1", "and tells when it can", within=90)


def is_ready(shim: Running) -> bool:
    return [image["phase"] for image in shim.state()["precache"]["images"]] == ["ready"]
