"""Real mounts for tests, over a folder that the test fills; whatever happens, nothing stays mounted or running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from modelcar.errors import NotFound
from modelcar.mounts.plan import MountPlan
from modelcar.mounts.process.launch import start
from modelcar.mounts.process.task import Task
from modelcar.mounts.process.unmounting import mounted, unmount
from tests.e2e.mounts.folder_worker import COMMAND
from tests.support.folder_door import FolderBlobs
from tests.support.waiting import eventually

__all__ = ["FolderMount", "Reader", "folder_mount"]

_ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, kw_only=True)
class FolderMount:
    """A mounted plan."""

    target: Path
    blobs: FolderBlobs
    supervisor: subprocess.Popen[bytes]
    log: Path

    def worker(self) -> int | None:
        """Its process."""
        children = Path(f"/proc/{self.supervisor.pid}/task/{self.supervisor.pid}/children")
        with suppress(OSError):
            for child in children.read_text().split():
                return int(child)
        return None

    def kill_worker(self, *, previous: int | None = None, after: float = 0) -> int:
        """The one after `previous`, `after` seconds of its life; returns its process."""
        eventually(lambda: self.worker() not in (None, previous), "there is a worker")
        worker = self.worker()
        assert worker is not None
        time.sleep(after)
        os.kill(worker, signal.SIGKILL)
        return worker

    @property
    def is_mounted(self) -> bool:
        return mounted(self.target) is not None


@contextmanager
def folder_mount(
    folder: Path,
    plan: MountPlan,
    contents: list[bytes | int],
    *,
    front: str = "fuse",
    patience: float = 60,
    stall: float = 30,
) -> Iterator[FolderMount]:
    target = folder / "mount"
    target.mkdir()
    blobs = FolderBlobs(folder / "door", contents)
    socket = str(blobs.folder)
    task = Task(front=front, target=str(target), socket=socket, mount="test", patience=patience, stall=stall)
    os.environ["PYTHONPATH"] = str(_ROOT)  # the programs run from another folder
    log = folder / "log"
    supervisor = start([*COMMAND, "open", task.to_argument()], plan, log=log)
    mount = FolderMount(target=target, blobs=blobs, supervisor=supervisor, log=log)
    try:
        yield mount
    finally:
        worker = mount.worker()
        while mount.is_mounted:
            with suppress(NotFound):
                unmount(target, lazy=True)
        try:
            supervisor.wait(timeout=10)
        except subprocess.TimeoutExpired:
            # It lives on in mount namespaces that others made meanwhile: no fault of what is tested here.
            for process in (supervisor.pid, worker, mount.worker()):
                if process is not None:
                    with suppress(ProcessLookupError):
                        os.kill(process, 9)
            supervisor.wait()


class Reader:
    """A program that reads, in a process of its own: a test never touches the mount."""

    def __init__(self, script: str, *arguments: object, before: Sequence[str] = ()) -> None:
        self._process = subprocess.Popen(
            [*before, sys.executable, "-c", script, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.end()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Of its exit; minus the number of the signal that ended it."""
        return self._process.poll()

    def result(self, within: float = 60) -> str:
        """What it printed. Fails the test if it fails."""
        try:
            out, err = self._process.communicate(timeout=within)
        finally:
            self.end()
        assert self._process.returncode == 0, f"it ended with {self._process.returncode}: {err}"
        return out

    def is_waiting(self, seconds: float = 0.2) -> bool:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
            return False
        return True

    def line(self) -> str:
        """The next that it prints."""
        return _stream(self._process.stdout).readline().rstrip("\n")

    def say(self, text: str) -> None:
        stream = _stream(self._process.stdin)
        stream.write(f"{text}\n")
        stream.flush()

    def wait(self, within: float) -> None:
        self._process.wait(within)

    def end(self) -> None:
        """Kill it; returns when it is gone, which a reader that is stuck in the kernel never is."""
        self._process.kill()
        self._process.wait(timeout=20)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            _stream(stream).close()


def _stream(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream
