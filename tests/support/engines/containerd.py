"""A containerd 2 of its own on a machine, asked as the kubelet asks it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from modelcar.errors import WorldError
from registry_shim.engines.cri import Cri
from tests.support.engines.processes import Daemon, Daemons
from tests.support.links import Machine

__all__ = ["Containerd", "template"]

_PATIENCE: Final = 280.0  # seconds for a pull
_KEYS: Final = """
version = 3
root = "{folder}/root"
state = "{folder}/state"
"""
_TABLES: Final = """
[grpc]
  address = "{folder}/socket"
[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/opt"
[plugins."io.containerd.cri.v1.images".registry]
  config_path = "{folder}/certs.d"
"""


def template(*, keys: str = "", tables: str = "") -> str:
    """The configuration of a containerd 2 in a `{folder}`, for `format`; TOML wants keys before tables."""
    return _KEYS + keys + _TABLES + tables


_CONFIG: Final = template(
    keys="""
disabled_plugins = ["io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing",
  "io.containerd.nri.v1.nri", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.erofs"]
""",
    tables="""
[plugins."io.containerd.cri.v1.images"]
  discard_unpacked_layers = false
[plugins."io.containerd.cri.v1.runtime".cni]
  conf_dir = "{folder}/net.d"
""",
)


class Containerd:
    """Its folder's path must be short: there will be sockets in it."""

    def __init__(self, machine: Machine, folder: Path, program: Path) -> None:
        self.machine = machine
        self.folder = folder
        self._program = program

    @property
    def socket(self) -> Path:
        return self.folder / "socket"

    @property
    def content(self) -> Path:
        """Its content store, as Spegel wants it named."""
        return self.folder / "root/io.containerd.content.v1.content"

    def start(self, daemons: Daemons) -> Daemon:
        (self.folder / "net.d").mkdir(parents=True)
        config = self.folder / "config.toml"
        config.write_text(_CONFIG.format(folder=self.folder))
        return daemons.start(self.machine, self.folder / "log", self._program, "--config", config)

    def answers(self) -> bool:
        try:
            return bool(Cri(self.socket).version().version)
        except WorldError:
            return False

    def mirror(self, registry: str, hosts: str) -> None:
        """From the next pull on, this is the registry's `hosts.toml`."""
        folder = self.folder / "certs.d" / registry
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "hosts.toml").write_text(hosts)

    def pull(self, ref: str) -> float:
        """Pull and unpack; returns seconds. containerd itself checks every digest.

        Raises:
            OSError: it did not get the image; the text is what it said.
        """
        began = time.monotonic()
        refusal = Cri(self.socket).pull(ref, seconds=_PATIENCE).refusal
        if refusal is not None:
            raise OSError(f"{self.machine.namespace}: {refusal}")
        return time.monotonic() - began

    def blobs(self) -> set[str]:
        """Digests of what it has whole."""
        return {f"sha256:{path.name}" for path in (self.content / "blobs/sha256").glob("*")}
