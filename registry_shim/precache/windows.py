"""When something may run. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from registry_shim.precache.settings import Window, time_zone

__all__ = ["is_open", "opens_at"]


def is_open(windows: Sequence[Window], zone: str, now: float) -> bool:
    """Whether one of the windows is open at `now` (seconds since the epoch); without any, always.

    What counts is the clock on the wall: the night in which clocks go back is an hour longer.
    """
    clock = datetime.fromtimestamp(now, time_zone(zone)).time()
    return not windows or any(
        window.start <= clock < window.end if window.start < window.end else clock >= window.start or clock < window.end
        for window in windows
    )


def opens_at(windows: Sequence[Window], zone: str, now: float) -> float:
    """When the next window opens (seconds since the epoch); `now` if one is open."""
    if is_open(windows, zone, now):
        return now
    local = datetime.fromtimestamp(now, time_zone(zone))
    starts = (
        datetime.combine(local.date() + timedelta(days=days), window.start, time_zone(zone)).astimezone(UTC).timestamp()
        for days in range(3)
        for window in windows
    )
    return min(start for start in starts if start > now)
