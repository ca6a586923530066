"""What the processes of one mount are told, as one argument on their command lines."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from modelcar.mounts.plan import MountPlan

__all__ = ["Held", "Task", "read_plan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Descriptors that the supervisor keeps and every worker inherits.

    Attributes:
        device: the number of the mounted file system, "0:45".
        front: what the kernel gave.
        plan: memory with the plan's JSON.
        journal: see `journal.py`.
        supervisor: a socket whose other end closes when the supervisor dies.
    """

    device: str
    front: tuple[int, ...]
    plan: int
    journal: int
    supervisor: int

    @property
    def all(self) -> tuple[int, ...]:
        return (*self.front, self.plan, self.journal, self.supervisor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One mount.

    Attributes:
        front: the name of the way to the kernel.
        target: the folder, absolute and without links.
        socket: where the host listens.
        mount: what the host calls this mount.
        patience: seconds that a reader waits for bytes.
        stall: seconds without a sign of life after which a worker that served is replaced.
        held: once it is mounted.
    """

    front: str
    target: str
    socket: str
    mount: str
    patience: float
    stall: float = 30.0
    held: Held | None = None

    def to_argument(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, argument: str) -> Self:
        fields = json.loads(argument)
        if (held := fields.pop("held")) is not None:
            held = Held(**{**held, "front": tuple(held["front"])})
        return cls(**fields, held=held)

    @property
    def folder(self) -> Path:
        return Path(self.target)


def read_plan(descriptor: int) -> MountPlan:
    """Raises `InvalidDocument`."""
    return MountPlan.parse(os.pread(descriptor, os.fstat(descriptor).st_size, 0))
