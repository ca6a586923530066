"""What mounts have fetched under one root, and how what no mount uses is removed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from modelcar.cache.stored import scan
from modelcar.mounts.keeping import await_keeper, start_keeper
from modelcar.mounts.link.asking import ask
from modelcar.mounts.records import Records
from modelcar.oci import Digest

__all__ = ["Fetched", "fetched", "free_unused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """Bytes on disk, and how many of them belong to no mount."""

    size: int
    unused: int


def fetched(root: Path) -> Fetched:
    """Looks at the disk only. Raises `StorageError`."""
    used: set[Digest] = set()
    for _, plan in Records(root).all():
        used.update(blob.digest for blob in (*plan.blobs, *([plan.index] if plan.index is not None else [])))
    stored = scan(root).values()
    return Fetched(size=sum(s.size for s in stored), unused=sum(s.size for s in stored if s.digest not in used))


def free_unused(root: Path) -> int:
    """Remove what no mount uses, through the keeper, who knows; returns the bytes that this frees. Raises what it
    says."""
    start_keeper(root)
    return int(ask(await_keeper(root), "free", {})["freed"])
