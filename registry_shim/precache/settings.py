"""What is fetched ahead, when, and how fast."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, time, tzinfo
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from modelcar.errors import UsageError
from modelcar.oci import Platform, Reference

__all__ = ["PrecacheImage", "PrecacheList", "PrecacheSettings", "Window", "time_zone"]

_MOST_PARALLEL: Final = 64  # each has a thread


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecacheImage:
    """An image that this node shall have."""

    reference: str
    """Its name as Docker users write it: `ghcr.io/org/model:v1`."""
    priority: int = 0
    """What has more comes first."""
    pin: bool = False
    """Keep it whatever the disk says, for as long as it stands in this list."""
    load: bool = False
    """Import it into containerd once it is ready."""
    platform: str | None = None
    """Of an image for several: `linux/arm64`, or `all`; without it, this machine's."""
    refresh: float = 0.0
    """Seconds between two looks whether its tag has moved; 0: never."""
    most: int = 0
    """Bytes that it may come to; one that has more is not fetched. 0: any number."""

    def __post_init__(self) -> None:
        Reference.parse(self.reference)
        if self.platform not in (None, "all"):
            Platform.parse(self.platform)
        if self.refresh < 0 or 0 < self.refresh < 1:
            raise UsageError(f"{self.reference}: refresh is in seconds, 1 or more; 0 turns it off")
        if self.most < 0:
            raise UsageError(f"{self.reference}: most is in bytes, 0 or more")

    @property
    def name(self) -> str:
        """The reference in full, by which entries are told apart."""
        return str(Reference.parse(self.reference))


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecacheList:
    """A file of the watched folder."""

    images: tuple[PrecacheImage, ...] = ()
    """What this node shall have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A time of day; it may pass midnight."""

    start: time
    """When it begins: "22:00"."""
    end: time
    """When it is over: "06:00"."""

    def __post_init__(self) -> None:
        if self.start == self.end:
            raise UsageError(
                "a window that begins when it ends is always or never open", hint="leave it out for always"
            )

    @classmethod
    def parse(cls, text: str) -> Window:
        """`22:00-06:00`."""
        try:
            start, end = (time.fromisoformat(part.strip()) for part in text.split("-"))
        except ValueError:
            raise UsageError(f"{text!r} is not a window", hint="it looks like 22:00-06:00") from None
        return cls(start=start, end=end)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecacheSettings:
    """Images that are fetched before anyone asks for them. A pull always goes first."""

    images: tuple[PrecacheImage, ...] = ()
    """What this node shall have."""
    folder: Path | None = None
    """A folder of lists of images (`*.txt`, `*.yaml`), read again when they change."""
    rate: int = 0
    """Bytes per second for all of this together; 0: no limit."""
    windows: tuple[Window, ...] = ()
    """When it may run; without one, always. What is under way is held outside of them, and goes on in the next."""
    zone: str = "UTC"
    """The time zone of the windows: `Europe/Berlin`."""
    parallel: int = 2
    """Images that are fetched at a time, 64 at most."""
    retry: float = 30.0
    """Seconds until a failed image is tried again; doubled with each failure."""
    retry_most: float = 3600.0
    """Seconds between two tries, at most."""
    interval: float = 5.0
    """Seconds between two looks at the folder."""

    def __post_init__(self) -> None:
        if not 1 <= self.parallel <= _MOST_PARALLEL:
            raise UsageError(f"precache: parallel is from 1 to {_MOST_PARALLEL}, not {self.parallel}")
        if self.rate < 0 or self.retry <= 0 or self.retry_most < self.retry or self.interval <= 0:
            raise UsageError(
                "precache: these numbers make no sense",
                hint="rate >= 0, 0 < retry <= retry_most, interval > 0",
            )
        time_zone(self.zone)


def time_zone(name: str) -> tzinfo:
    """Raises `UsageError`. UTC is known to machines without a database of time zones too."""
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(
            f"precache: there is no time zone {name!r}", hint="Europe/Berlin, UTC; it needs the package tzdata"
        ) from None
