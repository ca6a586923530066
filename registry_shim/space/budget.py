"""How many bytes have to go before others may come. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from modelcar.disk import Disk
from registry_shim.space.settings import SpaceSettings

__all__ = ["Need", "human", "need"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Bytes to free. `must`: else what comes does not fit; `want`: to have peace for a while (never less)."""

    must: int
    want: int
    limit: str = ""
    """What sets `must`, for people: "the budget is 20.0 GB"."""


def need(settings: SpaceSettings, disk: Disk, taken: int, coming: int, *, ahead: bool = False) -> Need:
    """What has to go before `coming` more bytes are written (running transfers included).

    Args:
        taken: bytes of the cache now.
        ahead: nobody waits for them, so that they must not fill the disk above its high mark either.
    """
    free = coming - (disk.free - settings.min_free)
    high = disk.used + coming - int(disk.total * settings.high_percent / 100)
    low = disk.used + coming - int(disk.total * settings.low_percent / 100)
    bounds = [(free, free, f"{human(settings.min_free)} of the disk stay free (min_free)")]
    if settings.budget:
        over = taken + coming - settings.budget
        slack = int(settings.budget * settings.budget_slack)
        bounds.append((over, over + slack, f"the budget is {human(settings.budget)}"))
    marks = (high, low, f"the disk may be {settings.high_percent:g} % full (high_percent)")
    must, _, limit = max([*bounds, marks] if ahead else bounds, key=lambda bound: bound[0])
    want = max((want for over, want, _ in (*bounds, marks) if over > 0), default=0)
    return Need(must=max(0, must), want=max(0, must, want), limit=limit)


def human(n: int) -> str:
    """Bytes for people, in the units that limits are written in: `20.0 GiB`."""
    for unit, bits in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if n >= 1 << bits:
            return f"{n / (1 << bits):.1f} {unit}"
    return f"{n} bytes"
