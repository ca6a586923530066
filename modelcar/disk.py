"""How much room a file system has, and whether that is enough."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from modelcar.errors import NoSpace, StorageError
from modelcar.progress import human_size

__all__ = ["Disk", "check_room"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A file system as `df` shows it: bytes in all that we could ever use, and bytes that are free for us."""

    total: int
    free: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """Raises `StorageError`."""
        try:
            st = os.statvfs(path)
        except (OSError, ValueError) as e:
            why = e.strerror if isinstance(e, OSError) else str(e)
            raise StorageError(f"cannot look at the file system of {path}: {why}") from None
        return cls(total=(st.f_blocks - st.f_bfree + st.f_bavail) * st.f_frsize, free=st.f_bavail * st.f_frsize)

    @property
    def used(self) -> int:
        return self.total - self.free


def check_room(folder: Path, size: int, what: str, *, spare: int = 0, hint: str | None = None) -> None:
    """Before `size` bytes are written into `folder`, or where it will be; `what` is said like "the weights take".

    `spare` bytes stay for others.

    Raises:
        NoSpace: they do not fit.
        StorageError: the file system cannot be looked at.
    """
    folder = folder.absolute()
    place = next((each for each in (folder, *folder.parents) if each.is_dir()), folder)
    free = Disk.of(place).free
    if free < size + spare:
        hint = hint or "free some space, or name a folder on another disk"
        raise NoSpace(f"{what} {human_size(size)}, and {place} has {human_size(free)} left", hint=hint)
