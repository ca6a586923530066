"""How many bytes have to go before others may come. Pure."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from modelcar.store.disk import explain
from registry_shim.space.settings import SpaceSettings

__all__ = ["Disk", "Need", "human", "need"]


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
        except OSError as e:
            raise explain(e, f"cannot look at the file system of {path}") from None
        return cls(total=(st.f_blocks - st.f_bfree + st.f_bavail) * st.f_frsize, free=st.f_bavail * st.f_frsize)

    @property
    def used(self) -> int:
        return self.total - self.free


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Bytes to free. `must`: else what comes does not fit; `want`: to have peace for a while (never less)."""

    must: int
    want: int
    limit: str = ""
    """What sets `must`, for people: "the budget is 20.0 GB"."""


def need(settings: SpaceSettings, disk: Disk, taken: int, coming: int, *, file_system: Path | None = None) -> Need:
    """What has to go before `coming` more bytes are written (running transfers included).

    Args:
        taken: bytes of the cache now.
        file_system: for the message.
    """
    bounds = [
        (
            coming - (disk.free - settings.min_free),
            coming - (disk.free - settings.min_free),
            f"{human(settings.min_free)} of the disk{_at(file_system)} stay free (min_free)",
        ),
        (
            disk.used + coming - int(disk.total * settings.high_percent / 100),
            disk.used + coming - int(disk.total * settings.low_percent / 100),
            f"the disk{_at(file_system)} may be {settings.high_percent:g} % full (high_percent)",
        ),
    ]
    if settings.budget:
        bounds.append(
            (
                taken + coming - settings.budget,
                taken + coming - int(settings.budget * (1 - settings.budget_slack)),
                f"the budget is {human(settings.budget)}",
            )
        )
    must, _, limit = max(bounds, key=lambda bound: bound[0])
    want = max((want for must, want, _ in bounds if must > 0), default=0)
    return Need(must=max(0, must), want=max(0, must, want), limit=limit)


def human(n: int) -> str:
    """Bytes for people, in the units that limits are written in: `20.0 GiB`."""
    for unit, bits in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if n >= 1 << bits:
            return f"{n / (1 << bits):.1f} {unit}"
    return f"{n} bytes"


def _at(path: Path | None) -> str:
    return f" of {path}" if path else ""
