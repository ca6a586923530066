"""FUSE as one of the ways to the kernel."""

from __future__ import annotations

import os
import select
from pathlib import Path
from typing import Final

from modelcar.mounts.door import Door
from modelcar.mounts.fuse import mounting
from modelcar.mounts.fuse.server import Server
from modelcar.mounts.fuse.tree import Tree
from modelcar.mounts.plan import MountPlan
from modelcar.mounts.process.front import Connect, Front
from modelcar.mounts.process.journal import Journal
from modelcar.mounts.process.pulse import Pulse

__all__ = ["FRONT"]

_LANES: Final = 4  # threads that read requests
_READ_AHEAD: Final = 4 << 20  # bytes; two thirds of the speed with half of it


class _Fuse:
    fails_closed: Final = True

    def open(self, plan: MountPlan, connect: Connect, target: Path) -> tuple[int, ...]:  # noqa: ARG002  # no door needed
        held = mounting.connect(target, plan.reference, lanes=_LANES)
        mounting.request_read_ahead(target, _READ_AHEAD)
        return held

    def is_over(self, held: tuple[int, ...]) -> bool:
        poll = select.poll()
        poll.register(held[0], 0)
        return any(events & select.POLLERR for _, events in poll.poll(0))

    def serve(
        self,
        held: tuple[int, ...],
        plan: MountPlan,
        door: Door,
        journal: Journal,
        target: Path,  # noqa: ARG002  # the connection is all
        patience: float,
        pulse: Pulse,
    ) -> None:
        tree = Tree(plan, uid=os.geteuid(), gid=os.getegid())
        server = Server(held, tree, door, journal, patience=patience)
        pulse.follow(server.busy)
        server.run()


FRONT: Final[Front] = _Fuse()
