"""What the persistent ids of a torch checkpoint promise about the storages that lie beside its pickle."""

from __future__ import annotations

from modelcar.scanning.filescan import FileScan
from modelcar.scanning.formats.pickles.walk import Walked

__all__ = ["storages"]


def storages(scan: FileScan, walked: Walked) -> dict[str, int | None]:
    """The storages that a stream refers to: their keys, and their sizes in bytes, `None` where that is unknown.

    Persistent ids of another shape, and sizes that contradict each other, are reported to `scan`.
    """
    del scan, walked
    return {}
