"""Nodes with a containerd each, a registry on a link of its own, and something between them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from tests.support.engines.containerd import Containerd
from tests.support.engines.processes import Daemons
from tests.support.links import Machine, Switch, switch

__all__ = ["Cluster", "Front", "Node", "cluster"]

_SHIM: Final = Path(sys.executable).with_name("registry-shim")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    machine: Machine
    folder: Path
    containerd: Containerd

    @property
    def address(self) -> str:
        return self.machine.address


class Front(Protocol):
    """What containerd asks before the upstream, or instead of it."""

    @property
    def name(self) -> str: ...

    def start(self, cluster: Cluster, nodes: Sequence[Node]) -> None:
        """Start it on all nodes, whose containerd runs already, and wait until it is ready."""

    def hosts(self, cluster: Cluster, node: Node) -> str:
        """The node's `hosts.toml` for the upstream."""


class Cluster:
    def __init__(self, folder: Path, network: Switch, mbit: int | None, containerd: Path) -> None:
        self.folder = folder
        self.network = network
        self.daemons = Daemons()
        self.nodes: list[Node] = []
        self.upstream = network.machine(mbit)
        self._mbit = mbit
        self._containerd = containerd

    @property
    def registry(self) -> str:
        """What images call the upstream. Without a port: Spegel filters by what containerd notes, which has none."""
        return self.upstream.address

    @property
    def url(self) -> str:
        """The upstream's."""
        return f"http://{self.registry}"

    @property
    def sent(self) -> int:
        """Bytes that the upstream has put on its link, all headers included."""
        return self.network.sent(self.upstream)

    def serve_upstream(self, root: Path) -> None:
        """Serve the repositories in `root`."""
        ready = self.folder / "upstream.ready"
        options = ("--root", root, "--listen", f"{self.upstream.address}:80", "--insecure", "--ready-file", ready)
        daemon = self.daemons.start(self.upstream, self.folder / "upstream.log", _SHIM, "serve", *options)
        daemon.wait_until(ready.exists, "the upstream starts")

    def machine(self) -> Machine:
        """One more, on a link like everyone's."""
        return self.network.machine(self._mbit)

    def add(self, count: int, front: Front) -> list[Node]:
        """Nodes that get their images through `front`."""
        nodes = []
        for _ in range(count):
            machine = self.machine()
            folder = self.folder / str(len(self.network.machines))
            folder.mkdir()
            containerd = Containerd(machine, folder / "c", self._containerd)
            nodes.append(Node(machine=machine, folder=folder, containerd=containerd))
        started = [(node, node.containerd.start(self.daemons)) for node in nodes]
        for node, daemon in started:
            daemon.wait_until(node.containerd.answers, "containerd starts")
        front.start(self, nodes)
        for node in nodes:
            node.containerd.mirror(self.registry, front.hosts(self, node))
        self.nodes += nodes
        return nodes

    def pull(self, nodes: Sequence[Node], image: str) -> list[float]:
        """Pull `image` (`REPOSITORY:TAG`) on all of `nodes` at once; returns seconds, in their order.

        Raises:
            OSError: one did not get it.
        """
        with ThreadPoolExecutor(len(nodes)) as pool:
            return list(pool.map(lambda node: node.containerd.pull(f"{self.registry}/{image}"), nodes))

    def close(self) -> None:
        self.daemons.close()


@contextmanager
def cluster(folder: Path, root: Path, *, mbit: int | None, containerd: Path) -> Iterator[Cluster]:
    """Machines with links of `mbit` each way, and an upstream that serves the repositories in `root`.

    `folder` has a short path and room for three copies of an image for each node.

    Raises:
        OSError: this machine does not let us.
    """
    with ExitStack() as stack:
        made = Cluster(folder, stack.enter_context(switch()), mbit, containerd)
        stack.callback(_unmount_below, folder)
        stack.callback(made.close)
        made.serve_upstream(root)
        yield made


def _unmount_below(folder: Path) -> None:
    places = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for place in reversed(places):
        if Path(place).is_relative_to(folder) and Path(place) != folder:
            subprocess.run(["umount", "--lazy", place], check=False)
