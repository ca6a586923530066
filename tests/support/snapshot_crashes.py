"""`python -m tests.support.snapshot_crashes FOLDER`: kill a snapshotter between any two steps of its work.

For k = 0, 1, 2 … a child does the same things in `FOLDER/<k>` and is killed by SIGKILL just before its k-th change of
the disk or statement to its database, until one gets through. After each, the next process goes on, as containerd does
it: every snapshot that it knows of has what belongs to it, nothing else lies there, and everything can be done again.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from modelcar.errors import AlreadyExists
from registry_shim.snapshotter.messages import Preparing
from registry_shim.snapshotter.records import Kind, Records
from tests.support.snapshots import RememberingMounter, Workbench

__all__ = ["STEPS", "check", "work"]

CHANGES = ["mkdir", "rename", "chmod", "chown", "rmdir", "unlink"]
STEPS = 40  # there are more; fewer would mean that they are not counted


def work(root: Path) -> None:
    """Everything that a snapshotter does in its life. Its mounts are made in no other thread: it forks."""
    bench = Workbench(root, RememberingMounter())
    snapshotter = bench.snapshotter
    bottom = _lazily(bench, "weights")
    top = bench.unpack("small", bottom)
    container = bench.key("container")
    snapshotter.prepare(Preparing(key=container, parent=top))
    snapshotter.remove(container)
    snapshotter.cleanup()
    other = bench.unpack("other")
    snapshotter.view(Preparing(key=bench.key("view"), parent=other))
    for snapshot in reversed(snapshotter.list([])):
        snapshotter.remove(snapshot.name)
    snapshotter.cleanup()
    bench.close()


def check(root: Path) -> None:
    """What the next process finds."""
    bench = Workbench(root, RememberingMounter())
    bench.snapshotter.cleanup()
    found = bench.snapshotter.list([])
    eager = {str(snapshot.number): snapshot for snapshot in found if snapshot.lazy is None}
    assert {path.name for path in (root / "snapshots").iterdir()} == set(eager)
    for number, snapshot in eager.items():
        inside = {path.name for path in (root / "snapshots" / number).iterdir()}
        assert inside == ({"fs"} if snapshot.kind is Kind.VIEW else {"fs", "work"}), (snapshot, inside)
        if snapshot.kind is Kind.COMMITTED:
            assert [path.name for path in (root / "snapshots" / number / "fs").iterdir()] == ["file"]
    images = {str(snapshot.lazy.image.number) for snapshot in found if snapshot.lazy is not None}
    assert {path.name for path in (root / "images").iterdir()} == images
    for snapshot in reversed(found):  # containerd's garbage collection: it knows of none of them
        bench.snapshotter.remove(snapshot.name)
    bench.snapshotter.cleanup()
    assert list((root / "snapshots").iterdir()) == list((root / "images").iterdir()) == []
    bench.close()
    work(root)


def _lazily(bench: Workbench, name: str) -> str:
    with suppress(AlreadyExists):
        bench.snapshotter.prepare(bench.lazily(name))
    return bench.found(name)


def _die_at(step: int) -> None:
    left = step

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **named: Any) -> Any:
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            return call(*args, **named)

        return wrapper

    for name in CHANGES:
        setattr(os, name, counted(getattr(os, name)))
    Records._run = counted(Records._run)  # type: ignore[method-assign]  # each step is counted


def main(folder: Path) -> int:
    """Returns how many steps there were."""
    step = 0
    while True:
        place = folder / str(step)
        child = os.fork()
        if child == 0:
            _die_at(step)
            work(place)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if place.exists():
            check(place)
        if not os.WIFSIGNALED(status):
            assert os.WEXITSTATUS(status) == 0
            return step
        step += 1


if __name__ == "__main__":
    steps = main(Path(sys.argv[1]))
    assert steps > STEPS, steps
    print(steps)
