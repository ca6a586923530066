"""A containerd of its own, and containers in it through `ctr`."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.support.commands import Done, run, serving
from tests.e2e.support.mounts import removed_cgroups, unmount_below
from tests.support.waiting import eventually

__all__ = ["Containerd", "containerd"]

_NAMESPACE = f"modelcar-{os.getpid()}"  # also names the control groups
_CONFIG = """
version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.tracing.processor.v1.otlp",
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "{folder}/socket"
[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/opt"
"""


class Container:
    """A running one. `pid` is its first process, as the host sees it."""

    def __init__(self, engine: Containerd, name: str, log: Path) -> None:
        self._engine = engine
        self._log = log
        self.name = name
        self.pid = engine.tasks()[name][0]

    @property
    def root(self) -> Path:
        """Its root file system."""
        return Path(f"/proc/{self.pid}/root")

    @property
    def output(self) -> str:
        return self._log.read_text()

    def execute(self, *command: str, user: str = "") -> Done:
        """Run a command in it, as its own user or as `uid:gid`."""
        options = ["--user", user] if user else []
        return self._engine.ctr("task", "exec", *options, "--exec-id", "probe", self.name, *command, check=False)

    def stop(self) -> int:
        """TERM; returns the exit status."""
        self._engine.ctr("task", "kill", "--signal", "SIGTERM", self.name)
        eventually(lambda: self._engine.tasks()[self.name][1] == "STOPPED", f"{self.name} ends on TERM")
        return self._engine.ctr("task", "delete", self.name, check=False).returncode


class Containerd:
    """The daemon's client. Every container has a log of its own; everything lies in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started = 0

    def ctr(self, *arguments: str | Path, check: bool = True) -> Done:
        return run("ctr", "--address", self._folder / "socket", "--namespace", _NAMESPACE, *arguments, check=check)

    def ctr_remote(self, *arguments: str | Path) -> Done:
        """stargz-snapshotter's own `ctr`."""
        return run("ctr-remote", "--address", self._folder / "socket", "--namespace", _NAMESPACE, *arguments)

    def pull(self, ref: str, *options: str, check: bool = True) -> Done:
        return self.ctr("image", "pull", "--plain-http", *options, ref, check=check)

    def start(self, ref: str, name: str, *command: str, options: tuple[str, ...] = ()) -> Container:
        """Run `command` of the image in the background, its root read-only."""
        self._started += 1
        log = self._folder / f"{name}-{self._started}.log"
        limits = ["--read-only", "--runc-root", str(self._folder / "runc"), "--log-uri", f"file://{log}"]
        self.ctr("run", "--detach", *limits, *options, ref, name, *command)
        return Container(self, name, log)

    def tasks(self) -> dict[str, tuple[int, str]]:
        """Name to process and state."""
        lines = self.ctr("task", "list").stdout.splitlines()[1:]
        return {name: (int(pid), state) for name, pid, state in (line.split() for line in lines)}

    def snapshots(self) -> set[str]:
        """Chain ids of what is unpacked."""
        lines = self.ctr("snapshot", "list").stdout.splitlines()[1:]
        return {line.split()[0] for line in lines}

    def content(self) -> set[str]:
        """Digests of what is in the content store."""
        return set(self.ctr("content", "list", "--quiet").stdout.split())

    def clear(self) -> None:
        """Remove containers, images and their content, so that the next pull starts from nothing."""
        for name in self.tasks():
            self.ctr("task", "kill", "--signal", str(signal.SIGKILL.value), name, check=False)
            self.ctr("task", "delete", "--force", name, check=False)
        for name in self.ctr("container", "list", "--quiet").stdout.split():
            self.ctr("container", "delete", name, check=False)
        for name in self.ctr("image", "list", "--quiet").stdout.split():
            self.ctr("image", "remove", "--sync", name, check=False)

    def spec(self, name: str) -> dict[str, object]:
        """The OCI runtime configuration of a container."""
        spec: dict[str, object] = json.loads(self.ctr("container", "info", name).stdout)["Spec"]
        return spec


@contextmanager
def containerd(folder: Path) -> Iterator[Containerd]:
    """Start one in `folder`, whose path must be short: there will be sockets in it."""
    folder.mkdir()
    config = folder / "config.toml"
    config.write_text(_CONFIG.format(folder=folder))
    engine = Containerd(folder)
    try:
        with (
            removed_cgroups(_NAMESPACE),
            serving(folder / "log", "containerd", "--config", config) as process,
        ):
            eventually(
                lambda: engine.ctr("version", check=False).returncode == 0 or process.poll() is not None,
                "containerd starts",
            )
            assert process.poll() is None, (folder / "log").read_text()
            try:
                yield engine
            finally:
                engine.clear()
    finally:
        unmount_below(folder)
