"""`modelcar mount` as a run needs it: on a machine of its own, and gone afterwards, whatever happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from tests.bench.measure import CommandFailed, Measurement, timed_by_itself
from tests.bench.race import Run

__all__ = ["FRONTS", "Front", "Place", "place"]

Front = Literal["erofs", "fuse"]
FRONTS: Final[tuple[Front, ...]] = ("erofs", "fuse")
_PATIENCE: Final = 120.0  # seconds
_REPOSITORY: Final = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a run mounts. `namespace` is the network that its processes are in; `None`: this machine's own."""

    run: Run
    folder: Path
    namespace: str | None

    @property
    def blobs(self) -> Path:
        """Where whole blobs lie."""
        return self.run.home / "modelcar" / "lazy" / "blobs"

    @property
    def keeper(self) -> int | None:
        with suppress(OSError, ValueError):
            return int((self.run.home / "modelcar" / "lazy" / "keeper.lock").read_text())
        return None

    def program(self, name: str, *arguments: object) -> Measurement:
        """One of our programs on that machine, which tells its time; its CPU is that of all who worked for it."""
        command = [*self.enter, sys.executable, "-m", f"tests.bench.programs.{name}", *map(str, arguments)]
        measured = self.run.measure(command, environment={"PYTHONPATH": str(_REPOSITORY)})
        return replace(timed_by_itself(measured, self.run.folder / "output"), elsewhere=0.0)

    def await_all(self) -> None:
        """Until nothing is fetched or checked any more. Raises `CommandFailed`."""
        deadline = time.monotonic() + _PATIENCE
        command = [str(self.run.bench.modelcar), "status", str(self.folder), "--json"]
        environment = self.run.bench.workspace.environment(self.run.folder)
        while time.monotonic() < deadline:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            status = json.loads(done.stdout)
            whole = len(list(self.blobs.rglob("*"))) > len(self.run.bench.model.shards)
            if status["present"] == status["size"] and whole:
                return
            time.sleep(0.2)
        raise CommandFailed(f"the model does not come: {done.stdout}")

    @property
    def enter(self) -> Sequence[str]:
        """Before a command. Not `ip netns exec`: that would mount in a mount namespace which ends with the command."""
        return ["nsenter", f"--net=/run/netns/{self.namespace}"] if self.namespace else []


@contextmanager
def place(run: Run, namespace: str | None) -> Iterator[Place]:
    """Nothing of it stays behind: neither mount nor process."""
    here = Place(run=run, folder=run.folder / "mount", namespace=namespace)
    try:
        yield here
    finally:
        subprocess.run(["umount", "--lazy", here.folder], check=False, capture_output=True)
        if (keeper := here.keeper) is not None:
            with suppress(ProcessLookupError):
                os.kill(keeper, signal.SIGKILL)
