"""What engines leave mounted."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.support.commands import run

__all__ = ["unmount_below"]


def unmount_below(folder: Path) -> None:
    """Take down every mount under `folder`, the last one first."""
    places = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for place in reversed(places):
        if Path(place).is_relative_to(folder):
            run("umount", "--lazy", place, check=False)
