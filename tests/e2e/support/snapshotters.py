"""A machine with containerd and our snapshotter, each of which can be stopped and started again."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.support.commands import Done, run, serving
from tests.e2e.support.cri import CriClient, cri_engine
from tests.e2e.support.mounts import unmount_below
from tests.support.grpc_client import GrpcClient
from tests.support.waiting import eventually

__all__ = ["UNPACKING", "Machine", "debian_engine", "machine"]

_PLUGIN = """
[proxy_plugins.modelcar]
  type = "snapshot"
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "modelcar"
  disable_snapshot_annotations = false
"""
_LIST = "/containerd.services.snapshots.v1.Snapshots/List"


class Machine:
    """`folder` has a short name; `command` runs the snapshotter over `state` at `socket`."""

    def __init__(
        self, folder: Path, pause: str, command: Sequence[str | Path], engine: Callable[[Path], dict[str, Any]]
    ) -> None:
        self.folder = folder
        self.state = folder / "snapshotter"
        self.socket = folder / "snapshotter.sock"
        self.engine_folder = folder / "engine"
        self._pause, self._command = pause, command
        self._options = engine(self.socket)
        self._snapshotter = ExitStack()
        self._engine = ExitStack()
        self._engine_runs = False
        self.process: subprocess.Popen[bytes]
        self.cri: CriClient

    def start_snapshotter(self) -> None:
        log = self.folder / "snapshotter.log"
        self.process = self._snapshotter.enter_context(serving(log, *self._command))
        eventually(lambda: self._answers() or self.process.poll() is not None, "the snapshotter starts")
        assert self.process.poll() is None, log.read_text()
        if self._engine_runs:
            # It waits longer and longer between its attempts to connect, and refuses pods meanwhile.
            eventually(self._is_reached, "containerd has found the snapshotter again")

    def stop_snapshotter(self) -> None:
        self._snapshotter.close()

    def kill_snapshotter(self) -> None:
        """As the kernel does when memory is short."""
        self.process.kill()
        self.process.wait()
        self._snapshotter.close()

    def start_engine(self) -> None:
        running = cri_engine(self.engine_folder, self._pause, keeps=True, **self._options)
        self.cri = self._engine.enter_context(running)
        self._engine_runs = True

    def stop_engine(self) -> None:
        self._engine_runs = False
        self._engine.close()

    def ctr(self, *arguments: str) -> str:
        return self._ctr(*arguments).stdout

    def content(self) -> set[str]:
        """The digests of what containerd has fetched."""
        folder = self.engine_folder / "root/io.containerd.content.v1.content/blobs/sha256"
        return {f"sha256:{path.name}" for path in folder.iterdir()}

    def snapshots(self) -> set[str]:
        """The folders of unpacked layers and of containers."""
        return {path.name for path in (self.state / "snapshots").iterdir()}

    def images(self) -> set[Path]:
        """Where images are mounted lazily."""
        return set((self.state / "images").iterdir())

    def _is_reached(self) -> bool:
        return self._ctr("snapshots", "--snapshotter", "modelcar", "ls", check=False).returncode == 0

    def _ctr(self, *arguments: str, check: bool = True) -> Done:
        address = self.engine_folder / "socket"
        return run("ctr", "--address", address, "--namespace", "k8s.io", *arguments, check=check)

    def _answers(self) -> bool:
        try:
            with GrpcClient(self.socket) as client:
                return client.call(_LIST).status == 0
        except OSError:
            return False


def debian_engine(socket: Path) -> dict[str, Any]:
    """containerd 1.6."""
    return {"more": _PLUGIN.format(socket=socket)}


@contextmanager
def machine(
    folder: Path, pause: str, command: Sequence[str | Path], engine: Callable[[Path], dict[str, Any]] = debian_engine
) -> Iterator[Machine]:
    """Both run. `{state}` and `{socket}` in `command` are where the snapshotter shall have its folder and socket;
    `engine` makes options of `cri_engine` of that socket."""
    folder.mkdir()
    places = {"{state}": folder / "snapshotter", "{socket}": folder / "snapshotter.sock"}
    found = Machine(folder, pause, [places.get(str(word), word) for word in command], engine)
    try:
        found.start_snapshotter()
        found.start_engine()
        found.cri.pull(pause)
        yield found
    finally:
        with ExitStack() as ending:
            ending.callback(unmount_below, folder)
            ending.callback(found.stop_snapshotter)
            ending.callback(found.stop_engine)


UNPACKING: Sequence[str | Path] = (sys.executable, "-m", "tests.e2e.support.unpacking", "{state}", "{socket}")
