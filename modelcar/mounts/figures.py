"""What is quickly said about a mount, however large: for metrics and status pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from modelcar.mounts.plan import MountPlan
from modelcar.mounts.records import MountRecord
from modelcar.mounts.served import ServedMount

__all__ = ["MountFigures", "figures_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MountFigures:
    """A mount, with sums over its blobs.

    Attributes:
        size: bytes of all its blobs.
        present: bytes of them that are here.
        waiting: ranges that readers wait for.
        answered: ranges that readers waited for and got, since this host serves the mount.
        failed: ranges for which they got `EIO` instead.
        lost: blobs of which nothing can be read any more.
        trouble: why nothing comes at the moment.
    """

    record: MountRecord
    reference: str
    size: int
    present: int = 0
    waiting: int = 0
    answered: int = 0
    failed: int = 0
    lost: int = 0
    trouble: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": self.record.id,
            "target": str(self.record.target),
            "repository": self.record.origin.name,
            "front": self.record.front,
            "reference": self.reference,
            "size": self.size,
            "present": self.present,
            "waiting": self.waiting,
            "answered": self.answered,
            "failed": self.failed,
            "lost": self.lost,
            "trouble": self.trouble,
        }


def figures_of(record: MountRecord, plan: MountPlan, served: ServedMount | None, trouble: str | None) -> MountFigures:
    """`served` is `None` while the host cannot serve it."""
    size = sum(blob.size for blob in plan.blobs)
    if served is None:
        return MountFigures(record=record, reference=plan.reference, size=size, trouble=trouble)
    return MountFigures(
        record=record,
        reference=plan.reference,
        size=size,
        present=served.total_present,
        waiting=served.waiting,
        answered=served.answered,
        failed=served.failed,
        lost=sum(served.lost(blob) is not None for blob in range(len(plan.blobs))),
        trouble=trouble or served.ahead.trouble,
    )
