"""How long work tells what it is doing. The library reports; only the command line draws."""

from __future__ import annotations

from typing import Final, Protocol

__all__ = ["SILENT", "Progress", "human_size"]

_UNITS: Final = ("B", "kB", "MB", "GB", "TB")


def human_size(size: float) -> str:
    """Bytes in decimal units, as registries and disks are labelled: `90.9 MB`."""
    unit = 0
    while size >= 999.5 and unit < len(_UNITS) - 1:
        size /= 1000
        unit += 1
    return f"{size:.0f} {_UNITS[unit]}" if unit == 0 or size >= 99.95 else f"{size:.1f} {_UNITS[unit]}"


class Progress(Protocol):
    """Receives events, from any thread. A task is known by its `key` (a digest or path), unique while it runs."""

    def expect(self, total: int) -> None:
        """Tasks of `total` bytes in all are about to start, besides those that were expected before."""

    def start(self, key: str, label: str, total: int) -> None:
        """A task of `total` bytes begins; `label` is for people."""

    def advance(self, key: str, n: int) -> None:
        """`n` more bytes are done; negative when a transfer has to repeat some."""

    def finish(self, key: str, note: str = "") -> None:
        """The task is done; `note` says how if not by moving its bytes: "exists", "mounted", "cached"."""


class _Silent:
    def expect(self, total: int) -> None:
        pass

    def start(self, key: str, label: str, total: int) -> None:
        pass

    def advance(self, key: str, n: int) -> None:
        pass

    def finish(self, key: str, note: str = "") -> None:
        pass


SILENT: Progress = _Silent()
