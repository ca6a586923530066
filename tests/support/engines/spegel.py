"""Spegel on every node: what a node's containerd has, the others may take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from tests.support.engines.cluster import Cluster, Node
from tests.support.engines.processes import Daemon, answer

__all__ = ["Spegel"]

_REGISTRY: Final = 5010
_ROUTER: Final = 5011
_BOOTSTRAP: Final = 5012
_METRICS: Final = 5013


@dataclass(slots=True)
class Spegel:
    """`running` has the daemons by the address of their node."""

    program: Path
    running: dict[str, Daemon] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return "Spegel"

    def start(self, cluster: Cluster, nodes: Sequence[Node]) -> None:
        """The first of all nodes tells the others who is there."""
        first = (cluster.nodes or nodes)[0]
        for node in nodes:
            log, options = node.folder / "spegel.log", self._options(cluster, node, first)
            self.running[node.address] = cluster.daemons.start(node.machine, log, self.program, "registry", *options)
        if len(cluster.nodes) + len(nodes) > 1:  # alone it is never ready
            for node in nodes:
                self.running[node.address].wait_until(partial(self._is_ready, node), "Spegel is ready")

    def hosts(self, cluster: Cluster, node: Node) -> str:
        """Spegel first; what it has not comes from the upstream."""
        table = f'[host."{self.url(node)}"]\n  capabilities = ["pull", "resolve"]\n'
        return f'server = "{cluster.url}"\n\n{table}'

    @staticmethod
    def url(node: Node) -> str:
        return f"http://{node.address}:{_REGISTRY}"

    def _is_ready(self, node: Node) -> bool:
        return answer(node.machine, f"{self.url(node)}/readyz") == 200

    @staticmethod
    def _options(cluster: Cluster, node: Node, first: Node) -> list[str]:
        return [
            f"--registry-addr={node.address}:{_REGISTRY}",
            f"--router-addr={node.address}:{_ROUTER}",
            f"--metrics-addr={node.address}:{_METRICS}",
            f"--containerd-sock={node.containerd.socket}",
            f"--containerd-content-path={node.containerd.content}",
            "--bootstrap-kind=http",
            f"--http-bootstrap-addr={node.address}:{_BOOTSTRAP}",
            f"--http-bootstrap-peer=http://{first.address}:{_BOOTSTRAP}",
            "--mirror-resolve-timeout=1s",  # not 20 ms: all nodes look for each other on a few cores
            f"--mirrored-registries=http://{cluster.registry}",
        ]
