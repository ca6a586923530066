"""registry-shim on every node, each other's peers or before mirrors of the node's own."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.support.engines.cluster import Cluster, Node

__all__ = ["Shims"]

_PORT: Final = 5020
_PEERS: Final = 5443
_PROGRAM: Final = Path(sys.executable).with_name("registry-shim")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shims:
    """`mirrors` are URLs that a node's shim asks before the upstream; without any the shims are peers."""

    mirrors: Callable[[Node], Sequence[str]] | None = None

    @property
    def name(self) -> str:
        return "registry-shim"

    def start(self, cluster: Cluster, nodes: Sequence[Node]) -> None:
        members = [f"{node.address}:{_PEERS}" for node in (*cluster.nodes, *nodes)]
        started = []
        for node in nodes:
            (node.folder / "shim.yaml").write_text(json.dumps(self._config(cluster, node, members)))  # which is YAML
            ready = node.folder / "shim.ready"
            command = (_PROGRAM, "serve", "--config", node.folder / "shim.yaml", "--ready-file", ready)
            started.append((ready, cluster.daemons.start(node.machine, node.folder / "shim.log", *command)))
        for ready, daemon in started:
            daemon.wait_until(ready.exists, "registry-shim starts")

    def hosts(self, cluster: Cluster, node: Node) -> str:
        """The shim and nothing else, as `registry-shim hosts-toml` writes it."""
        return f'server = "{self.url(node)}"\n\n[host."{self.url(node)}"]\n  capabilities = ["pull", "resolve"]\n'

    @staticmethod
    def url(node: Node) -> str:
        return f"http://{node.address}:{_PORT}"

    def _config(self, cluster: Cluster, node: Node, members: Sequence[str]) -> Mapping[str, Any]:
        mirrors = self.mirrors(node) if self.mirrors else ()
        peers = {"listen": f"{node.address}:{_PEERS}", "members": members, "insecure": True}
        return {
            "root": str(node.folder / "shim"),
            "listen": f"{node.address}:{_PORT}",
            "insecure": True,
            "mirror": {"upstreams": [{"registry": cluster.registry, "urls": [*mirrors, cluster.url]}]},
            **({} if self.mirrors else {"peers": peers}),
        }
