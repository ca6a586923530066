"""What engines leave behind: mounts and control groups."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.e2e.support.commands import run
from tests.support.skips import unavailable
from tests.support.waiting import eventually

__all__ = ["removed_cgroups", "tmpfs", "unmount_below"]

_CGROUPS = Path("/sys/fs/cgroup")


@contextmanager
def tmpfs(folder: Path, size: int) -> Iterator[Path]:
    """A disk of `size` bytes at `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    if run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder, check=False).returncode != 0:
        unavailable("cannot mount a tmpfs")
    try:
        yield folder
    finally:
        # A process that ends lets go of its files only after it has let go of its name.
        eventually(lambda: run("umount", folder, check=False).returncode == 0, f"{folder} is let go of", within=20)


def unmount_below(folder: Path) -> None:
    """Take down every mount under `folder`, the last one first."""
    places = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for place in reversed(places):
        if Path(place).is_relative_to(folder):
            run("umount", "--lazy", place, check=False)


@contextmanager
def removed_cgroups(name: str) -> Iterator[None]:
    """After the block, remove the control groups `name` that were not there before it, if nothing is left in them."""
    before = set(_cgroups(name))
    try:
        yield
    finally:
        for group in set(_cgroups(name)) - before:
            for folder in [*sorted((p for p in group.rglob("*") if p.is_dir()), reverse=True), group]:
                with suppress(OSError):
                    folder.rmdir()


def _cgroups(name: str) -> list[Path]:
    """The second version has one hierarchy, the first has one for each controller."""
    return [path for path in (_CGROUPS / name, *_CGROUPS.glob(f"*/{name}")) if path.is_dir()]
