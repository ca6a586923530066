"""How far a mount is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from modelcar.mounts.plan import MountedFile, MountPlan
from modelcar.mounts.records import MountRecord
from modelcar.mounts.served import ServedMount

__all__ = ["FileStatus", "MountStatus", "Speed", "status_of"]

_MEASURE: Final = 2.0  # seconds over which a rate is taken


class Speed:
    """Bytes a second that arrive, lately."""

    def __init__(self) -> None:
        self.rate = 0.0
        self._known: tuple[float, int] | None = None

    def note(self, present: int, now: float) -> None:
        """So many bytes are here now."""
        if self._known is None:
            self._known = now, present
            return
        moment, before = self._known
        if now > moment:
            share = min(1.0, (now - moment) / _MEASURE)
            self.rate += (max(0, present - before) / (now - moment) - self.rate) * share
            self._known = now, present


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStatus:
    """A file, its bytes, and which of them can be read: ascending ranges of it."""

    path: str
    size: int
    ranges: tuple[tuple[int, int], ...]

    @property
    def present(self) -> int:
        return sum(stop - start for start, stop in self.ranges)

    def has(self, start: int, stop: int) -> bool:
        """Whether all bytes from `start` to `stop` can be read."""
        return start >= stop or any(a <= start and stop <= b for a, b in self.ranges)


@dataclass(frozen=True, slots=True, kw_only=True)
class MountStatus:
    """A mount. Sizes are bytes, `rate` is bytes a second that arrive.

    `trouble` says why nothing comes at the moment, `lost` why files can never be read.
    """

    record: MountRecord
    reference: str
    digest: str
    rate: float
    waiting: int
    trouble: str | None
    files: tuple[FileStatus, ...]
    lost: dict[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def present(self) -> int:
        return sum(file.present for file in self.files)

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": self.record.id,
            "target": str(self.record.target),
            "front": self.record.front,
            "reference": self.reference,
            "digest": self.digest,
            "size": self.size,
            "present": self.present,
            "rate": round(self.rate),
            "waiting": self.waiting,
            "trouble": self.trouble,
            "lost": self.lost,
            "files": [{"path": f.path, "size": f.size, "ranges": [list(r) for r in f.ranges]} for f in self.files],
        }


def status_of(
    record: MountRecord, plan: MountPlan, served: ServedMount | None, speed: Speed, trouble: str | None
) -> MountStatus:
    """`served` is `None` while the host cannot serve it."""
    here = [list(_ranges(served, blob)) if served is not None else [] for blob in range(len(plan.blobs))]
    lost = {f.path: reason for f in plan.files if served is not None and (reason := served.lost(f.blob)) is not None}
    return MountStatus(
        record=record,
        reference=plan.reference,
        digest=str(plan.digest),
        rate=speed.rate,
        waiting=served.waiting if served is not None else 0,
        trouble=trouble or (served.ahead.trouble if served is not None else None),
        files=tuple(FileStatus(path=f.path, size=f.size, ranges=tuple(_within(f, here[f.blob]))) for f in plan.files),
        lost=lost,
    )


def _ranges(served: ServedMount, blob: int) -> Iterator[tuple[int, int]]:
    """What of a blob can be read."""
    offset, size = 0, served.plan.blobs[blob].size
    start = None
    while offset < size:
        here = served.available(blob, offset)
        if here:
            start = offset if start is None else start
            offset += here
            continue
        if start is not None:
            yield start, offset
            start = None
        offset = served.after(blob, offset)
    if start is not None:
        yield start, size


def _within(file: MountedFile, ranges: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    end = file.offset + file.size
    for start, stop in ranges:
        first, last = max(start, file.offset), min(stop, end)
        if first < last:
            yield first - file.offset, last - file.offset
