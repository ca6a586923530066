"""Whether files are still what they were when they were read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

__all__ = ["Stamps", "stamps_of"]

Stamps = tuple[tuple[int, int, int] | None, ...]


def stamps_of(paths: Iterable[Path | None]) -> Stamps:
    """Inode, size and time of each file, followed through links (as Kubernetes swaps them); `None` for one that cannot
    be looked at."""
    return tuple(_stamp(path) for path in paths if path is not None)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
