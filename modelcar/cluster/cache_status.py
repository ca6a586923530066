"""What a ModelCache says of itself: its copies on all nodes, summed up. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from modelcar.cluster.names import NodePhase, spec_of, status_of
from modelcar.cluster.resources import Object
from modelcar.progress import human_size

__all__ = ["Copy", "image_sizes", "summed"]

_MOST_NODES: Final = 100  # told of one by one
_MOST_USERS: Final = 5
_LONGEST: Final = 500  # characters of a reason
_TELLING: Final = (NodePhase.FAILED, NodePhase.DOWNLOADING, NodePhase.PENDING, NodePhase.READY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """One image on one node. Bytes, and bytes a second."""

    node: str
    phase: NodePhase
    done: int = 0
    size: int = 0
    rate: int = 0
    digest: str | None = None
    reason: str | None = None

    @classmethod
    def of(cls, node: str, model: Mapping[str, Any]) -> Self:
        """From an entry of a ModelNode's `status.models`."""
        phase = model.get("phase")
        return cls(
            node=node,
            phase=NodePhase(phase) if phase in list(NodePhase) else NodePhase.PENDING,
            done=int(model.get("done") or 0),
            size=int(model.get("size") or 0),
            rate=int(model.get("rate") or 0),
            digest=model.get("digest"),
            reason=model.get("reason"),
        )

    def to_dict(self) -> dict[str, Any]:
        told: dict[str, Any] = {"node": self.node, "phase": str(self.phase)}
        if self.phase is NodePhase.DOWNLOADING and self.size:
            told["progress"] = f"{min(99, 100 * self.done // self.size)}%"
        return told | ({"reason": self.reason[:_LONGEST]} if self.reason else {})


def image_sizes(caches: Iterable[Object], reports: Iterable[Object]) -> dict[str, int]:
    """Bytes by image, as nodes tell; as they told once, where none does any more."""
    sizes: dict[str, int] = {}
    for report in reports:
        for model in status_of(report).get("models") or []:
            image, size = str(model.get("image")), int(model.get("size") or 0)
            sizes[image] = max(size, sizes.get(image, 0))
    for cache in caches:
        image = str(spec_of(cache).get("image"))
        sizes[image] = sizes.get(image) or int(status_of(cache).get("size") or 0)
    return {image: size for image, size in sizes.items() if size}


def summed(
    cache: Object, copies: Sequence[Copy], size: int | None, users: Sequence[str] | None, now: str
) -> dict[str, Any]:
    """Its whole `status`. `users` are the pods that hold it while it is deleted; `None` if it is not."""
    count = Counter(copy.phase for copy in copies)
    copies_now = {"wanted": len(copies)} | {str(phase).lower(): count[phase] for phase in NodePhase}
    digest = _digest(copies) or status_of(cache).get("digest")
    progress = _progress(copies, size)
    summary = {"ready": f"{count[NodePhase.READY]}/{len(copies)}", "progress": progress}
    told = sorted(copies, key=lambda c: (_TELLING.index(c.phase), c.node))
    failures = [c for c in told if c.phase is NodePhase.FAILED]
    return {
        "observedGeneration": int((cache.get("metadata") or {}).get("generation") or 0),
        "phase": _phase(copies, users),
        **({"digest": digest} if digest else {}),
        **({"size": size} if size else {}),
        "copies": copies_now,
        "summary": summary | ({"size": human_size(size)} if size else {}),
        "nodes": [copy.to_dict() for copy in told[:_MOST_NODES]],
        **({"nodesLeftOut": len(told) - _MOST_NODES} if len(told) > _MOST_NODES else {}),
        "conditions": _conditions(cache, copies, failures, users, now),
    }


def _phase(copies: Sequence[Copy], users: Sequence[str] | None) -> str:
    phases = {copy.phase for copy in copies}
    if users is not None:
        return "Deleting"
    for phase in (NodePhase.DOWNLOADING, NodePhase.FAILED, NodePhase.PENDING):
        if phase in phases:
            return str(phase)
    return str(NodePhase.READY if phases else NodePhase.PENDING)


def _progress(copies: Sequence[Copy], size: int | None) -> str:
    """In percent of all bytes on all nodes; 100 only when all is ready."""
    if not copies or all(copy.phase is NodePhase.READY for copy in copies):
        return "100%" if copies else ""
    if not size:
        return "0%"
    done = sum(size if copy.phase is NodePhase.READY else min(copy.done, size) for copy in copies)
    return f"{min(99, 100 * done // (size * len(copies)))}%"


def _digest(copies: Iterable[Copy]) -> str | None:
    """What most nodes have; while a tag moves they differ."""
    found = Counter(copy.digest for copy in copies if copy.digest)
    return max(sorted(found), key=lambda d: found[d]) if found else None


def _conditions(
    cache: Object, copies: Sequence[Copy], failures: Sequence[Copy], users: Sequence[str] | None, now: str
) -> list[dict[str, Any]]:
    ready = sum(copy.phase is NodePhase.READY for copy in copies)
    if not copies:
        state = ("False", "NoNodes", "no node matches nodeSelector")
    elif ready == len(copies):
        state = ("True", "AllReady", f"on {ready} of {len(copies)} nodes")
    elif failures:
        state = ("False", "CopiesFailed", f"{failures[0].node}: {failures[0].reason or 'it failed'}"[:_LONGEST])
    else:
        state = ("False", "Copying", f"on {ready} of {len(copies)} nodes")
    made = [_condition(cache, "Ready", *state, now)]
    if users is not None:
        more = f" and {len(users) - _MOST_USERS} more" if len(users) > _MOST_USERS else ""
        who = f"used by {', '.join(users[:_MOST_USERS])}{more}" if users else "nothing uses it"
        held = ("True", "InUse") if users else ("False", "Unused")
        made.append(_condition(cache, "DeletionBlocked", *held, who, now))
    return made


def _condition(cache: Object, kind: str, status: str, reason: str, message: str, now: str) -> dict[str, Any]:
    before = [
        c for c in status_of(cache).get("conditions") or [] if c.get("type") == kind and c.get("status") == status
    ]
    since = before[0].get("lastTransitionTime") if before else None
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": since or now,
        "observedGeneration": int((cache.get("metadata") or {}).get("generation") or 0),
    }
