"""From what is in the cluster to what shall be: ModelNodes, and what ModelCaches say of themselves. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from modelcar.cluster.cache_status import Copy, image_sizes, summed
from modelcar.cluster.names import FINALIZER, LIMIT, NodePhase, by_name, is_deleted, labels_of, spec_of, status_of
from modelcar.cluster.placing import Placement, Room, Wish, place
from modelcar.cluster.quantities import quantity
from modelcar.cluster.resources import Object, name_of
from modelcar.cluster.selectors import matches_selector
from modelcar.cluster.using import users
from modelcar.errors import UsageError

__all__ = ["Plan", "View", "plan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What there is. `pods` are needed only while a ModelCache is being deleted; `None` if they are not known."""

    caches: Sequence[Object] = ()
    nodes: Sequence[Object] = ()
    model_nodes: Sequence[Object] = ()
    pods: Sequence[Object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What shall be. Only what differs from the view needs to be written.

    Attributes:
        specs: by node the `spec` of its ModelNode, which is made if there is none.
        gone: ModelNodes whose node is no more.
        statuses: by ModelCache.
        hold: ModelCaches that have yet to get our finalizer.
        release: those that nothing holds any more.
    """

    specs: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    gone: tuple[str, ...] = ()
    statuses: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    hold: tuple[str, ...] = ()
    release: tuple[str, ...] = ()


def plan(view: View, now: str) -> Plan:
    """`now` is the time as Kubernetes writes it, for conditions that change."""
    reports, nodes = by_name(list(view.model_nodes)), {name_of(n): n for n in view.nodes if _can_have_models(n)}
    selected = {name_of(cache): _selected(cache, nodes) for cache in view.caches}
    blocked = {name_of(c): _users(c, selected[name_of(c)], view.pods) for c in view.caches if is_deleted(c)}
    wanted = [c for c in view.caches if not is_deleted(c) or blocked[name_of(c)]]
    sizes, placements = image_sizes(view.caches, reports.values()), {}
    for name, node in nodes.items():
        here = [cache for cache in wanted if name in selected[name_of(cache)]]
        if here or name in reports:
            report = reports.get(name, {})
            placements[name] = place(name, _wishes(here, sizes), _room(node, report), _promised(report))
    statuses = {}
    for cache in view.caches:
        copies = [_copy(cache, name, nodes[name], placements.get(name), reports) for name in selected[name_of(cache)]]
        size = sizes.get(str(spec_of(cache).get("image")))
        statuses[name_of(cache)] = summed(cache, copies, size, blocked.get(name_of(cache)), now)
    return Plan(
        specs={name: _spec(placement, nodes[name]) for name, placement in placements.items()},
        gone=tuple(sorted(reports.keys() - {name_of(node) for node in view.nodes})),
        statuses=statuses,
        hold=tuple(name_of(c) for c in view.caches if not is_deleted(c) and not _is_held(c)),
        release=tuple(
            name for name, using in blocked.items() if not using and _is_held(by_name(list(view.caches))[name])
        ),
    )


def _can_have_models(node: Object) -> bool:
    return labels_of(node).get("kubernetes.io/os", "linux") == "linux" and not is_deleted(node)


def _selected(cache: Object, nodes: Mapping[str, Object]) -> list[str]:
    selector = spec_of(cache).get("nodeSelector")
    return sorted(name for name, node in nodes.items() if matches_selector(selector, labels_of(node)))


def _users(cache: Object, nodes: Iterable[str], pods: Sequence[Object] | None) -> list[str]:
    """Who keeps it from being deleted; as long as the pods are not known, everybody could."""
    if pods is None:
        return ["pods, which are being looked at"]
    return users(pods, str(spec_of(cache).get("image")), status_of(cache).get("digest"), nodes)


def _is_held(cache: Object) -> bool:
    return FINALIZER in ((cache.get("metadata") or {}).get("finalizers") or [])


def _wishes(caches: Iterable[Object], sizes: Mapping[str, int]) -> list[Wish]:
    """One for each image: of several ModelCaches the highest priority, and a pin if one has it."""
    grouped: dict[str, list[Object]] = defaultdict(list)
    for cache in caches:
        grouped[str(spec_of(cache).get("image"))].append(cache)
    return [_wish(image, sorted(group, key=_age), sizes.get(image)) for image, group in grouped.items()]


def _wish(image: str, caches: list[Object], size: int | None) -> Wish:
    wish = Wish(
        image=image,
        created=_age(caches[0])[0],
        caches=tuple(sorted(name_of(cache) for cache in caches)),
        size=size,
        pin=any(spec_of(cache).get("pin", True) for cache in caches),
        priority=max(int(spec_of(cache).get("priority") or 0) for cache in caches),
    )
    options: dict[str, Any] = {}
    for option in ("pullSecret", "refreshSeconds"):
        given = [spec_of(cache)[option] for cache in caches if spec_of(cache).get(option)]
        if given:
            options[option] = min(given) if option == "refreshSeconds" else given[0]
    return replace(wish, options=options)


def _age(cache: Object) -> tuple[str, str]:
    return str((cache.get("metadata") or {}).get("creationTimestamp") or ""), name_of(cache)


def _room(node: Object, report: Object) -> Room:
    text = ((node.get("metadata") or {}).get("annotations") or {}).get(LIMIT)
    capacity = status_of(report).get("capacity")
    try:
        limit = quantity(str(text)) if text is not None else None
    except UsageError:
        return Room(limit=0, problem=f"the annotation {LIMIT} of node {name_of(node)} is not a quantity: {text!r}")
    return Room(limit=limit, capacity=capacity if isinstance(capacity, int) else None)


def _promised(report: Object) -> set[str]:
    """What is pinned, and which the node has or has begun to fetch: only then it has been found to fit."""
    pinned = {str(model.get("image")) for model in spec_of(report).get("models") or [] if model.get("pin")}
    begun = (NodePhase.DOWNLOADING, NodePhase.READY)
    return {str(m.get("image")) for m in status_of(report).get("models") or [] if m.get("phase") in begun} & pinned


def _spec(placement: Placement, node: Object) -> dict[str, Any]:
    room = _room(node, {})
    return {"models": list(placement.models)} | ({"limit": room.limit} if room.limit is not None else {})


def _copy(cache: Object, name: str, node: Object, placement: Placement | None, reports: Mapping[str, Object]) -> Copy:
    """What becomes of one image on one node, in the order in which somebody would ask."""
    image = str(spec_of(cache).get("image"))
    if placement is not None and image in placement.refused:
        return Copy(node=name, phase=NodePhase.FAILED, reason=placement.refused[image])
    if placement is not None and image in placement.waiting:
        return Copy(node=name, phase=NodePhase.PENDING, reason=placement.waiting[image])
    if not _is_ready(node):
        return Copy(node=name, phase=NodePhase.PENDING, reason="the node is not ready")
    status = status_of(reports.get(name, {}))
    if not status:
        return Copy(node=name, phase=NodePhase.PENDING, reason="no registry-shim has reported from this node")
    if status.get("problem"):
        return Copy(node=name, phase=NodePhase.PENDING, reason=str(status["problem"]))
    for model in status.get("models") or []:
        if model.get("image") == image:
            return Copy.of(name, model)
    return Copy(node=name, phase=NodePhase.PENDING)


def _is_ready(node: Object) -> bool:
    conditions = status_of(node).get("conditions") or []
    return all(c.get("status") == "True" for c in conditions if c.get("type") == "Ready")
