"""A node with Debian's containerd, alone or with our shim and snapshotter, that starts one pod of a model."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest

from tests.bench.measure import CommandFailed, busy_time
from tests.bench.tools.mounts import Front
from tests.bench.tools.reader_image import MODEL, SANDBOX
from tests.e2e.support.commands import BIN
from tests.e2e.support.cri import CriClient, CriError, cri_engine
from tests.e2e.support.cri_pods import Kubelet, PodFailed, RunningPod
from tests.e2e.support.snapshotters import debian_engine, machine
from tests.support.links import Machine
from tests.support.swarm import Swarm, swarm
from tests.support.waiting import eventually

__all__ = ["Started", "start_pod"]

_REGISTRY: Final = "models.example"
_LONGEST: Final = 300.0  # seconds
_LOOKS: Final = 1.0  # seconds between them, as a kubelet's


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """Seconds from the pull's begin; `cpu` is that of all on this machine meanwhile."""

    pulled: float
    running: float
    first: float
    loaded: float
    cpu: float


def start_pod(root: Path, mbit: int, front: Front | None, command: Sequence[str]) -> Started:
    """Pull the model's image from `root` onto a node that never had it, and run `command` in it. Without a `front`
    containerd unpacks it.

    Raises:
        CommandFailed: it did not run, or to its end.
    """
    with TemporaryDirectory(prefix="mcb-", dir="/var/tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "net").mkdir()
        try:
            with swarm(folder / "net", root, mbit) as network, _node(folder, network, front) as node:
                return _run(node, folder / "pods", command)
        except (PodFailed, CriError, AssertionError, pytest.fail.Exception) as e:
            raise CommandFailed(str(e)) from None


@contextmanager
def _node(folder: Path, network: Swarm, front: Front | None) -> Iterator[_Clocked]:
    if front is None:
        here = network.network.machine(network.mbit)
        options = _place(here, f"http://{network.upstream.address}:5000")
        with cri_engine(folder / "c", f"{_REGISTRY}/{SANDBOX}:v1", **options):
            yield _Clocked(folder / "c/socket")
        return
    (shim,) = network.add(1, peers=False)
    options = _place(shim.machine, f"http://{shim.machine.address}:5000")
    command = (*options["before"], BIN / "registry-shim", "snapshotter", "--root", shim.folder / "root")
    command += ("--state", "{state}", "--socket", "{socket}", "--kernel-mount", front)

    def engine(socket: Path) -> dict[str, Any]:
        return {**debian_engine(socket), **options}

    with machine(folder / "n", f"{_REGISTRY}/{SANDBOX}:v1", command, engine) as node:
        yield _Clocked(node.engine_folder / "socket")


def _place(here: Machine, url: str) -> dict[str, Any]:
    """Not `ip netns exec`: its mount namespace would be another one than the pods'."""
    hosts = f'server = "{url}"\n\n[host."{url}"]\n  capabilities = ["pull", "resolve"]\n'
    return {"before": ("nsenter", f"--net=/run/netns/{here.namespace}"), "hosts": {_REGISTRY: hosts}}


class _Clocked(CriClient):
    """Notes when the kubelet's calls for a container begin and end."""

    began = pulled = running = 0.0

    def pull(self, image: str) -> None:
        self.began = time.monotonic()
        super().pull(image)
        self.pulled = time.monotonic()

    def start(self, container: str) -> None:
        super().start(container)
        self.running = time.monotonic()


def _run(cri: _Clocked, folder: Path, command: Sequence[str]) -> Started:
    container = {"name": "server", "image": f"{_REGISTRY}/{MODEL}:v1", "command": list(command)}
    spec = {"restartPolicy": "Never", "containers": [container]}
    cri.pull(f"{_REGISTRY}/{SANDBOX}:v1")  # a node has that
    busy = busy_time()
    kubelet = Kubelet(cri, folder, interval=_LOOKS)
    with kubelet.running({"metadata": {"name": "server"}, "spec": spec}) as pod:
        said = _answers(pod)
    return Started(
        pulled=cri.pulled - cri.began,
        running=cri.running - cri.began,
        first=said["first"] - cri.began,
        loaded=said["all"] - cri.began,
        cpu=busy_time() - busy,
    )


def _answers(pod: RunningPod) -> dict[str, float]:
    eventually(lambda: "all " in pod.log("server") or pod.exit_code("server") is not None, "it ends", within=_LONGEST)
    said = pod.log("server")
    if "all " not in said:
        raise CommandFailed(f"the reader ended with {pod.exit_code('server')}: {said.strip()[-500:]}")
    return {word: float(when) for word, _, when in (line.partition(" ") for line in said.splitlines())}
