"""What the agent writes to the API server, each no oftener than is good for a cluster of a thousand nodes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from modelcar.cluster.api import Cluster
from modelcar.cluster.names import labels_of, status_of, timestamp
from modelcar.cluster.patching import replacing
from modelcar.cluster.resources import EVENTS, MODEL_NODES, NODES, Object, name_of, namespace_of
from modelcar.errors import Conflict, ObjectNotFound
from registry_shim.cluster.labels import changes
from registry_shim.cluster.progress import Told, event
from registry_shim.cluster.report import differs, report
from registry_shim.cluster.seen import ShownImage, Sight

__all__ = ["Events", "Labels", "Statuses"]

_LABELS_SECONDS: Final = 60.0
"""Between two looks at the Node: somebody may have taken a label away."""
_LABELS_PAUSE: Final = 10.0
_EVENT_PAUSE: Final = 15.0
"""Seconds between two tellings of the same, with another number."""
_MOST_EVENTS: Final = 20
"""Told in one round; the others have their turn in the next."""
_REMEMBERED: Final = 1000
_log = logging.getLogger("registry_shim.cluster")


class Statuses:
    """The status of this node's ModelNode."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._last: tuple[str, dict[str, Any]] | None = None

    def tell(self, model_node: Object, sight: Sight, problems: Mapping[str, str]) -> None:
        """Raises `ClusterError`."""
        uid = str(model_node["metadata"].get("uid"))
        if self._last is not None and self._last[0] == uid:  # what was written last is not yet what was seen last
            model_node = {**model_node, "status": self._last[1]}
        status = report(model_node, sight, problems)
        before = status_of(model_node)
        if differs(before, status):
            patch = {"status": replacing(before, status)}
            self._cluster.patch(MODEL_NODES, name_of(model_node), patch, subresource="status")
            self._last = (uid, status)

    def forget(self) -> None:
        """Go by what the API server has: something else may have written there."""
        self._last = None


class Labels:
    """The labels of this node that say which models it has."""

    def __init__(self, cluster: Cluster, node: str, clock: Callable[[], float]) -> None:
        self._cluster = cluster
        self._node = node
        self._clock = clock
        self._known: dict[str, str] = {}
        self._looked = self._told = float("-inf")

    def tell(self, images: Iterable[ShownImage], wanted: Collection[str]) -> None:
        """Raises `ClusterError`."""
        now = self._clock()
        if now - self._told < _LABELS_PAUSE:
            return
        if now - self._looked >= _LABELS_SECONDS:
            self._known = labels_of(self._cluster.get(NODES, self._node))
            self._looked = now
        change = changes(self._known, images, wanted)
        if change:
            self._known = labels_of(self._cluster.patch(NODES, self._node, {"metadata": {"labels": change}}))
            self._told = now


@dataclass(slots=True)
class _Known:
    message: str
    first: str
    count: int
    told: float


class Events:
    """Events of pods. One that is known already is changed: `kubectl describe pod` shows the latest."""

    def __init__(self, cluster: Cluster, node: str, clock: Callable[[], float]) -> None:
        self._cluster = cluster
        self._node = node
        self._clock = clock
        self._known: dict[tuple[str | None, str], _Known] = {}

    def tell(self, told: Iterable[Told]) -> None:
        """Raises `ClusterError`."""
        budget = _MOST_EVENTS
        for each in told:
            known = self._known.get((namespace_of(each.pod), each.name))
            now = self._clock()
            if known is not None and (known.message == each.message or now - known.told < _EVENT_PAUSE):
                continue
            if budget == 0:
                return
            budget -= 1
            self._write(each, known, now)

    def _write(self, told: Told, known: _Known | None, now: float) -> None:
        moment = timestamp()
        first, count = (known.first, known.count + 1) if known else (moment, 1)
        made = event(told, self._node, count, first, moment)
        try:
            if known is None:
                try:
                    self._cluster.create(EVENTS, made)
                except Conflict:  # told before a restart of ours
                    self._change(made)
            else:
                self._change(made)
        except ObjectNotFound:
            _log.debug("the pod or event is gone: %s", told.name)
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[namespace_of(told.pod), told.name] = _Known(told.message, first, count, now)

    def _change(self, made: Object) -> None:
        change = {key: made[key] for key in ("message", "lastTimestamp", "count")}
        self._cluster.patch(EVENTS, name_of(made), change, namespace_of(made))
