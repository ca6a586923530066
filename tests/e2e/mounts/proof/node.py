"""A machine that mounts models: the keeper in a folder, mounts over it, and kill -9 for each of their processes."""

from __future__ import annotations

import os
import secrets
import select
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from modelcar.errors import ModelcarError
from modelcar.mounts.keeping import await_keeper, socket_of, start_keeper
from modelcar.mounts.link.asking import ask
from modelcar.mounts.plan import MountPlan
from modelcar.mounts.process.launch import start_mount
from modelcar.mounts.process.unmounting import mounted
from tests.e2e.mounts.proof.models import SmallModel
from tests.e2e.support.mounts import unmount_below
from tests.support.waiting import eventually

__all__ = ["Mount", "Node", "kill", "node"]

_PATIENCE: Final = 8.0  # seconds that a reader waits: tests have less time than people
_LONGEST_USE: Final = 120.0  # seconds: mount namespaces that others cloned meanwhile have the mount until they end


@dataclass(frozen=True, kw_only=True, slots=True)
class Mount:
    """One mounted model."""

    id: str
    target: Path
    supervisor: subprocess.Popen[bytes]

    @property
    def worker(self) -> int | None:
        """Its process."""
        children = Path(f"/proc/{self.supervisor.pid}/task/{self.supervisor.pid}/children")
        with suppress(OSError, IndexError):
            return int(children.read_text().split()[0])
        return None


class Node:
    """A keeper and its mounts, which are of one kind. Kept apart from the command line: a run must not take seconds."""

    def __init__(self, folder: Path, front: str, upstream: str, *, patience: float = _PATIENCE) -> None:
        self.folder, self.front, self.patience = folder, front, patience
        self.root = folder / "lazy"
        self._upstream = upstream
        self._supervisors: list[subprocess.Popen[bytes]] = []
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def keeper(self) -> int | None:
        """Its process."""
        try:
            return int((self.root / "keeper.lock").read_text())
        except (OSError, ValueError):
            return None

    def start(self) -> None:
        start_keeper(self.root)
        await_keeper(self.root)

    def mount(self, model: SmallModel, *, budget: int | None = None) -> Mount:
        self.start()
        identity = secrets.token_hex(6)
        target = self.folder / f"mount-{identity}"
        target.mkdir()
        request: dict[str, Any] = {
            "id": identity,
            "target": str(target),
            "registry": self._upstream,
            "repository": model.repository,
            "supervisor": [],
            "front": "",
            "network": {"plain_http": "yes"},
            "reference": f"{self._upstream}/{model.repository}:v1",
            "digest": str(model.manifest.digest),
            "manifest": model.manifest.content.decode(),
            "mediaType": model.manifest.media_type,
            "budget": budget,
        }
        answer = ask(socket_of(self.root), "mount", request)
        plan = MountPlan.parse(Path(answer["plan"]).read_bytes())
        supervisor = start_mount(
            plan,
            front=self.front,
            socket=socket_of(self.root),
            mount=identity,
            target=target,
            patience=self.patience,
            log=self.log,
        )
        self._supervisors.append(supervisor)
        ask(socket_of(self.root), "started", {"id": identity, "pid": supervisor.pid, "front": self.front})
        return Mount(id=identity, target=target, supervisor=supervisor)

    @property
    def log(self) -> Path:
        """Of all its mounts."""
        return self.folder / "mounts.log"

    def status(self, mount: Mount) -> dict[str, Any]:
        return ask(socket_of(self.root), "status", {"id": mount.id})

    def unmount(self, mount: Mount) -> None:
        """Whatever state it is in; returns when nothing of it is left."""
        unmount_below(mount.target)
        eventually(lambda: mount.supervisor.poll() is not None, "the supervisor ends", within=_LONGEST_USE)
        assert mounted(mount.target) is None
        with suppress(ModelcarError):
            ask(socket_of(self.root), "remove", {"id": mount.id})
        mount.target.rmdir()

    def kill_keeper(self) -> None:
        """Also its children, if there are any. Returns when it is gone."""
        if (pid := self.keeper) is not None:
            kill(pid)

    def end(self) -> None:
        """Nothing stays, neither mounts nor processes."""
        unmount_below(self.folder)
        self.kill_keeper()
        for pid in self._processes():
            kill(pid)
        for supervisor in self._supervisors:
            supervisor.kill()
            supervisor.wait()

    def _processes(self) -> list[int]:
        """Of its mounts, by their command lines."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                words = path.read_bytes()
                if str(self.folder).encode() in words and b"modelcar" in words and int(path.parent.name) != os.getpid():
                    found.append(int(path.parent.name))
        return found


def kill(pid: int) -> None:
    """As kill -9 does, between any two steps; returns when it is dead, whoever its parent is."""
    with suppress(ProcessLookupError):
        watched = os.pidfd_open(pid)
        try:
            os.kill(pid, signal.SIGKILL)
            _await_death(pid, watched)
        finally:
            os.close(watched)


def _await_death(pid: int, watched: int) -> None:
    if not select.select([watched], [], [], 20)[0]:
        raise AssertionError(f"process {pid} does not die")


@contextmanager
def node(folder: Path, front: str, upstream: str, **options: Any) -> Iterator[Node]:
    one = Node(folder, front, upstream, **options)
    try:
        one.start()
        yield one
    finally:
        one.end()
