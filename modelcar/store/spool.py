"""The folder for what passes through: members that are scanned, layers on their way. Killed commands leave some there.

Whoever works in the folder holds it locked shared; whatever has a lock of its own is held by that.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

from modelcar.errors import StorageError
from modelcar.store.disk import lock

__all__ = ["OWN_LOCK", "hold_spool", "sweep_spool"]

OWN_LOCK: Final = "passing-"
"""What folders are called that are locked one by one, and outlive their command so that the next one goes on."""
_held: dict[Path, int] = {}


def hold_spool(folder: Path) -> None:
    """Keep what is in `folder` until this process ends. Raises `OSError`."""
    place = folder.resolve()
    for held, fd in list(_held.items()):
        if os.fstat(fd).st_nlink == 0:  # it was removed, and another one may have its name
            os.close(_held.pop(held))
    if place in _held:
        return
    fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:  # a sweep, which is over in no time
        fcntl.flock(fd, fcntl.LOCK_SH)
    _held[place] = fd


def sweep_spool(folder: Path, *, dry_run: bool = False) -> int:
    """Remove what dead processes left in `folder`; returns the disk space in bytes that this frees."""
    if not folder.is_dir():
        return 0
    freed = 0
    with suppress(StorageError), lock(folder, exclusive=True, blocking=False):
        freed += sum(_remove(path, dry_run=dry_run) for path in folder.iterdir() if not path.name.startswith(OWN_LOCK))
    for path in folder.glob(f"{OWN_LOCK}*"):
        with suppress(StorageError), lock(path, exclusive=True, blocking=False):
            freed += _remove(path, dry_run=dry_run)
    return freed


def _remove(path: Path, *, dry_run: bool) -> int:
    inside = [path, *path.rglob("*")] if path.is_dir() and not path.is_symlink() else [path]
    size = 0
    for entry in inside:
        with suppress(FileNotFoundError):
            size += entry.lstat().st_blocks * 512
    if not dry_run:
        if len(inside) > 1 or path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return size
