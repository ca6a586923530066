"""What pods that wait for a model are told: events with its progress. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from modelcar.cluster.names import spec_of, status_of
from modelcar.cluster.resources import Object, name_of, namespace_of
from modelcar.progress import human_size
from registry_shim.cluster.seen import ShownImage, Sight, full_name

__all__ = ["Told", "event", "events", "models_awaited"]

_PREFIX: Final = "modelcar"
_LONGEST: Final = 1000  # characters; the API server takes 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One line about one model of one pod; `reason` is `ModelPulling`, `ModelReady` or `ModelFailed`."""

    pod: Object
    image: str
    reason: str
    message: str

    @property
    def name(self) -> str:
        """Of the Event: the same for the same reason, so that there is one that changes, and not a thousand."""
        uid = str((self.pod.get("metadata") or {}).get("uid") or "")
        key = hashlib.sha256(f"{uid}\n{self.image}\n{self.reason}".encode()).hexdigest()[:16]
        return f"{name_of(self.pod)[:230]}.{key}"


def events(pods: Iterable[Object], sight: Sight) -> list[Told]:
    """What there is to say now."""
    if sight.problem:
        return []
    told = ((pod, image, _state(image, sight)) for pod in pods for image in models_awaited(pod))
    return [Told(pod=pod, image=image, reason=s[0], message=s[1][:_LONGEST]) for pod, image, s in told if s is not None]


def event(told: Told, node: str, count: int, first: str, now: str) -> Object:
    """The Event; times as Kubernetes writes them."""
    meta = told.pod.get("metadata") or {}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": told.name, "namespace": namespace_of(told.pod)},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": name_of(told.pod),
            "namespace": namespace_of(told.pod),
            "uid": str(meta.get("uid") or ""),
            "resourceVersion": str(meta.get("resourceVersion") or ""),
        },
        "reason": told.reason,
        "message": told.message,
        "type": "Warning" if told.reason == "ModelFailed" else "Normal",
        "source": {"component": "registry-shim", "host": node},
        "reportingComponent": "modelcar.dev/registry-shim",
        "reportingInstance": node,
        "firstTimestamp": first,
        "lastTimestamp": now,
        "count": count,
    }


def models_awaited(pod: Object) -> Iterator[str]:
    """The model images of a pod that is not running yet, each once."""
    if status_of(pod).get("phase") not in (None, "Pending"):
        return
    yield from dict.fromkeys(_models(spec_of(pod), _started(status_of(pod))))


def _models(spec: Mapping[str, Any], started: set[str]) -> Iterator[str]:
    """Images of containers and volumes that are named as the webhook names them (KServe's too)."""
    for part in ("initContainers", "containers"):
        for container in _objects(spec.get(part)):
            name, image = str(container.get("name")), container.get("image")
            if name.partition("-")[0] == _PREFIX and isinstance(image, str) and name not in started:
                yield image
    for volume in _objects(spec.get("volumes")):
        source = volume.get("image")
        reference = source.get("reference") if isinstance(source, dict) else None
        if str(volume.get("name")).partition("-")[0] == _PREFIX and isinstance(reference, str):
            yield reference


def _state(image: str, sight: Sight) -> tuple[str, str] | None:
    """What to say of an image; `None` if nobody asked the shim for it yet."""
    shown = [each for each in sight.images if each.is_called(image)]
    whole = [each for each in shown if each.whole]
    best = max(whole or shown, key=lambda each: each.used, default=None)
    if best is not None and best.refused is not None:
        return "ModelFailed", f"{image}: this node does not serve it: {best.refused}"
    if best is not None and best.whole:
        return "ModelReady", f"{image} is on this node ({human_size(best.total or best.done)})"
    entry: Mapping[str, Any] = sight.wanted.get(full_name(image) or "") or {}
    if entry.get("phase") in ("failed", "refused"):
        return "ModelFailed", f"{image}: {entry.get('error') or 'it failed'}"
    return ("ModelPulling", _progress(image, best)) if best is not None else None


def _progress(image: str, shown: ShownImage) -> str:
    if not shown.total:
        return f"{image}: {human_size(shown.done)} so far"
    percent = min(99, 100 * shown.done // shown.total)
    rate = f", {human_size(shown.rate)}/s" if shown.rate else ""
    return f"{image}: {percent} % ({_of(shown.done, shown.total)}{rate})"


def _of(done: int, total: int) -> str:
    """`12.0 of 34.2 GB`, or with both units where they differ."""
    one, other = human_size(done).rsplit(" ", 1), human_size(total).rsplit(" ", 1)
    return f"{one[0]} of {' '.join(other)}" if one[1] == other[1] else f"{' '.join(one)} of {' '.join(other)}"


def _started(status: Mapping[str, Any]) -> set[str]:
    """Names of containers whose image is here: they run, or did."""
    entries = [*_objects(status.get("initContainerStatuses")), *_objects(status.get("containerStatuses"))]
    return {
        str(entry.get("name")) for entry in entries if {"running", "terminated"} & (entry.get("state") or {}).keys()
    }


def _objects(items: Any) -> Iterator[dict[str, Any]]:
    yield from (item for item in (items if isinstance(items, list) else []) if isinstance(item, dict))
