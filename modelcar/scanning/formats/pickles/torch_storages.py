"""What the persistent ids of a torch checkpoint promise about the storages that lie beside its pickle."""

from __future__ import annotations

from modelcar.scanning.filescan import FileScan
from modelcar.scanning.findings import shown
from modelcar.scanning.formats.pickles.rules import PERSISTENT, STORAGE
from modelcar.scanning.formats.pickles.vetted_torch import Storage, storage_of
from modelcar.scanning.formats.pickles.walk import Walked

__all__ = ["promised", "storages"]


def storages(scan: FileScan, walked: Walked) -> dict[str, int | None]:
    """The storages that a stream refers to: their keys, and their sizes in bytes, `None` where that is unknown.

    Persistent ids of another shape, and sizes that contradict each other, are reported to `scan`.
    """
    found = promised(scan, walked)
    return {key: None if storage is None else storage.size for key, storage in found.items()}


def promised(scan: FileScan, walked: Walked) -> dict[str, Storage | None]:
    """The storages by their keys; `None` for one of which contradictory things are said. Reports as `storages` does."""
    found: dict[str, Storage | None] = {}
    others = 0
    for persistent in walked.persistent:
        storage = storage_of(persistent.key)
        if storage is None:
            if not others:
                scan.found(PERSISTENT, offset=persistent.offset)
            others += 1
            continue
        known = found.setdefault(storage.key, storage)
        if known is not None and known.size != storage.size:
            detail = f"storage {shown(storage.key)} has {known.size} bytes, and {storage.size}"
            scan.found(STORAGE, detail, offset=persistent.offset)
            found[storage.key] = None
    return found
