"""The status of this node's ModelNode. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from modelcar.cluster.names import NodePhase, status_of
from modelcar.cluster.resources import Object
from modelcar.progress import human_size
from registry_shim.cluster.seen import Sight, full_name
from registry_shim.cluster.wishes import models_of

__all__ = ["differs", "report"]

_PHASES: Final = {
    "queued": NodePhase.PENDING,
    "resolving": NodePhase.PENDING,
    "fetching": NodePhase.DOWNLOADING,
    "checking": NodePhase.DOWNLOADING,
    "importing": NodePhase.DOWNLOADING,
    "ready": NodePhase.READY,
    "evicted": NodePhase.FAILED,
    "refused": NodePhase.FAILED,
    "failed": NodePhase.FAILED,
}
_EVICTED: Final = "it gave way to others: pin it, or give this node more room"
_LONGEST: Final = 500  # characters
_STEPS: Final = 100  # progress is told in percent, or a thousand nodes would keep the API server busy
_SLACK: Final = 0.01  # free space moves all the time


def report(model_node: Object, sight: Sight, problems: Mapping[str, str]) -> dict[str, Any]:
    """The whole `status`. `problems` are reasons by image that the shim does not know of."""
    before = status_of(model_node)
    told = {model.get("image"): model for model in before.get("models") or []}
    wanted = models_of(model_node)
    if sight.problem:
        kept = [told[model["image"]] for model in wanted if model["image"] in told]
        models = [{key: value for key, value in model.items() if key != "rate"} for model in kept]
    else:
        models = [_model(model, sight, told.get(model["image"], {}), problems) for model in wanted]
    ready = sum(model["phase"] == NodePhase.READY for model in models)
    capacity = _steady(sight.capacity, before.get("capacity"), sight.problem)
    used = _steady(sight.used, before.get("used"), sight.problem)
    return {
        "observedGeneration": int((model_node.get("metadata") or {}).get("generation") or 0),
        "models": models,
        **({"capacity": capacity, "used": used} if capacity else {}),
        **({"problem": sight.problem} if sight.problem else {}),
        "summary": {
            "ready": f"{ready}/{len(wanted)}",
            **({"used": f"{human_size(used)} of {human_size(capacity)}"} if capacity else {}),
        },
    }


def differs(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether it is worth telling: rates alone are not."""
    return _without_rates(before) != _without_rates(after)


def _model(
    model: Mapping[str, Any], sight: Sight, before: Mapping[str, Any], problems: Mapping[str, str]
) -> dict[str, Any]:
    image, problem = model["image"], problems.get(model["image"])
    name = full_name(image)
    if name is None:
        return {"image": image, "phase": str(NodePhase.FAILED), "reason": "this is not the name of an image"}
    entry = sight.wanted.get(name)
    if entry is None:  # the shim reads its lists every few seconds
        return {"image": image, "phase": str(NodePhase.PENDING)} | ({"reason": problem} if problem else {})
    phase = _PHASES.get(str(entry.get("phase")), NodePhase.PENDING)
    progress = entry.get("progress") or {}
    size = (
        int(progress.get("total") or 0) or _size_here(str(entry.get("digest")), sight) or int(before.get("size") or 0)
    )
    done = size if phase is NodePhase.READY else _stepped(int(progress.get("done") or 0), size)
    reason = _reason(entry, phase)
    if phase is not NodePhase.READY and problem:
        reason = f"{problem}; {reason}" if reason else problem
    return {
        "image": image,
        "phase": str(phase),
        **({"digest": entry["digest"]} if entry.get("digest") else {}),
        "done": done,
        "size": size,
        **({"rate": round(progress.get("rate") or 0)} if phase is NodePhase.DOWNLOADING else {}),
        **({"reason": reason[:_LONGEST]} if reason else {}),
    }


def _reason(entry: Mapping[str, Any], phase: NodePhase) -> str | None:
    if entry.get("phase") == "evicted":
        return _EVICTED
    if entry.get("error") and phase is not NodePhase.READY:
        hint = entry.get("hint")
        return f"{entry['error']}" + (f" ({hint})" if hint else "")
    return "its gate has yet to say whether it may be served" if entry.get("phase") == "checking" else None


def _size_here(digest: str, sight: Sight) -> int:
    """After a restart the shim no longer counts what is ready; but it knows what lies there."""
    return next((image.total or image.done for image in sight.images if image.digest == digest), 0)


def _stepped(done: int, size: int) -> int:
    return min(size, size * (done * _STEPS // size) // _STEPS) if size else 0


def _steady(value: int, before: Any, problem: str | None) -> int:
    """What it was, unless it moved for more than noise."""
    if not isinstance(before, int):
        return value
    return before if problem or abs(value - before) <= _SLACK * before else value


def _without_rates(status: Mapping[str, Any]) -> dict[str, Any]:
    models: Iterable[Mapping[str, Any]] = status.get("models") or ()
    plain: Sequence[dict[str, Any]] = [{k: v for k, v in model.items() if k != "rate"} for model in models]
    return {**status, "models": plain}
