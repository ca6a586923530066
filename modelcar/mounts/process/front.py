"""Ways to the kernel, under one supervisor."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from modelcar.errors import UsageError
from modelcar.mounts.door import Door
from modelcar.mounts.plan import MountPlan
from modelcar.mounts.process.journal import Journal
from modelcar.mounts.process.pulse import Pulse

__all__ = ["FRONTS", "Connect", "Front", "front"]

Connect = Callable[[], Door]
"""Each call opens the door anew."""

FRONTS = ("erofs", "fuse")


class Front(Protocol):
    @property
    def fails_closed(self) -> bool:
        """Whether readers get errors, and nothing else, once nobody holds what `open` returned. If not, a supervisor
        that cannot find a worker holds it for ever."""

    def open(self, plan: MountPlan, connect: Connect, target: Path) -> tuple[int, ...]:
        """Mount, and return the descriptors that must outlive every worker. No thread and no door may be left when it
        returns: the process is forked then. Raises `WorldError`."""

    def is_over(self, held: tuple[int, ...]) -> bool:
        """Whether the mount is gone, for its last user, too. A worker asks before it opens the door: the host may be
        gone as well. In doubt it is not."""

    def serve(
        self,
        held: tuple[int, ...],
        plan: MountPlan,
        door: Door,
        journal: Journal,
        target: Path,
        patience: float,
        pulse: Pulse,
    ) -> None:
        """In a worker, and after its death in the next: answer the kernel until the mount is gone, for its last user,
        too. A range that does not come within `patience` seconds is `EIO`. `pulse` is told what threads are at."""


def front(name: str) -> Front:
    """Raises `UsageError` for a name that is not in `FRONTS`."""
    if name not in FRONTS:
        raise UsageError(f"{name!r} is not a way to mount", hint=f"one of {', '.join(FRONTS)}")
    return cast(Front, import_module(f"modelcar.mounts.{name}").FRONT)
