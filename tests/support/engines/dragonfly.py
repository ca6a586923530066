"""Dragonfly on every node, with a scheduler and a seed peer on a machine of their own, and no manager."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.support.engines.cluster import Cluster, Node
from tests.support.engines.processes import Daemon, answer
from tests.support.links import Machine

__all__ = ["Dragonfly"]

_SCHEDULER: Final = 8002
_UPLOAD: Final = 4000
_PROXY: Final = 4001
_METRICS: Final = 4002
_HEALTH: Final = 4003
_STATS: Final = 4004
_TCP: Final = 4005
_QUIC: Final = 4006


@dataclass(slots=True, kw_only=True)
class Dragonfly:
    """`running` has the daemons by the address of their machine."""

    dfdaemon: Path
    scheduler: Path
    running: dict[str, Daemon] = field(default_factory=dict)
    _seed: Machine | None = None

    @property
    def name(self) -> str:
        return "Dragonfly"

    def start(self, cluster: Cluster, nodes: Sequence[Node]) -> None:
        if self._seed is None:
            self._seed = cluster.machine()
            folder = cluster.folder / "seed"
            folder.mkdir()
            self._start_scheduler(cluster, self._seed, folder)
            self._start_daemon(cluster, self._seed, folder, {"seedPeer": {"enable": True, "type": "super"}})
        for node in nodes:
            self._start_daemon(cluster, node.machine, node.folder)

    def hosts(self, cluster: Cluster, node: Node) -> str:
        """The header says where the registry is; `?ns=` would have Dragonfly take it for HTTPS."""
        host = f'[host."{self.url(node)}"]\n  capabilities = ["pull", "resolve"]\n'
        header = f'  [host."{self.url(node)}".header]\n    X-Dragonfly-Registry = "{cluster.url}"\n'
        return f'server = "{cluster.url}"\n\n{host}{header}'

    @staticmethod
    def url(node: Node) -> str:
        return f"http://{node.address}:{_PROXY}"

    def _start_scheduler(self, cluster: Cluster, machine: Machine, folder: Path) -> None:
        config = {
            "server": {
                "advertiseIP": machine.address,
                "listenIP": machine.address,
                "port": _SCHEDULER,
                **{f"{name}Dir": str(folder / name) for name in ("log", "plugin", "data", "workHome", "cache")},
            },
            "scheduler": {"algorithm": "default"},
            "job": {"enable": False},
            "metrics": {"enable": False},
            "storage": {"maxSize": 100, "maxBackups": 1},
        }
        file, dynamic = folder / "scheduler.yaml", folder / "scheduler-dynconfig.yaml"
        file.write_text(json.dumps(config))  # which is YAML
        dynamic.write_text("{}")
        options = ("--config", file, "--dynconfig", dynamic, "--console")
        cluster.daemons.start(machine, folder / "scheduler.log", self.scheduler, *options)

    def _start_daemon(
        self, cluster: Cluster, machine: Machine, folder: Path, more: Mapping[str, Any] | None = None
    ) -> None:
        home = folder / "dragonfly"
        home.mkdir()
        (home / "config.yaml").write_text(json.dumps(self._config(cluster, machine, home) | dict(more or {})))
        schedulers = {"scheduler": {"addrs": [f"{self._seed.address if self._seed else ''}:{_SCHEDULER}"]}}
        (home / "dynconfig.yaml").write_text(json.dumps(schedulers))
        options = ("--config", home / "config.yaml", "--dynconfig", home / "dynconfig.yaml")
        command = (self.dfdaemon, *options, "--log-dir", home / "log", "--console")
        daemon = cluster.daemons.start(machine, folder / "dfdaemon.log", *command)
        self.running[machine.address] = daemon
        health = f"http://{machine.address}:{_HEALTH}/healthy"
        daemon.wait_until(lambda: answer(machine, health) == 200, "dfdaemon starts")

    @staticmethod
    def _config(cluster: Cluster, machine: Machine, home: Path) -> dict[str, Any]:
        here = {"ip": machine.address}
        return {
            "host": {**here, "hostname": machine.namespace},
            "server": {"pluginDir": str(home / "plugins"), "cacheDir": str(home / "cache")},
            "download": {"server": {"socketPath": str(home / "socket")}},
            "upload": {"server": {**here, "port": _UPLOAD}},
            "scheduler": {"announceInterval": "10s"},
            "storage": {"server": {**here, "tcpPort": _TCP, "quicPort": _QUIC}, "dir": str(home / "storage")},
            "proxy": {
                "server": {**here, "port": _PROXY},
                "rules": [{"regex": "blobs/sha256.*"}],
                "registryMirror": {"addr": cluster.url},
            },
            "health": {"server": {**here, "port": _HEALTH}},
            "metrics": {"server": {**here, "port": _METRICS}},
            "stats": {"server": {**here, "port": _STATS}},
        }
