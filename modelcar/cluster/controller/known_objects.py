"""What there is in the cluster, as events tell it, and as lists put it right."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any, Final

from modelcar.cluster.api import Cluster
from modelcar.cluster.names import is_deleted
from modelcar.cluster.plan import View
from modelcar.cluster.resources import MODEL_CACHES, MODEL_NODES, NODES, PODS, Object, Resource, name_of, version_of

__all__ = ["KINDS", "Known"]

KINDS: Final = (MODEL_CACHES, NODES, MODEL_NODES)


class Known:
    """Objects of the three kinds that are followed, without what nobody looks at. Safe to use from any thread.

    kopf is not told what was deleted while a watch was broken; `refresh`, now and then, finds that out.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._objects: dict[Resource, dict[str, Object]] = {resource: {} for resource in KINDS}

    def refresh(self, cluster: Cluster) -> None:
        """List everything anew. Raises `ClusterError`."""
        for resource in KINDS:
            items = {name_of(item): _slim(resource, item) for item in cluster.list(resource).items}
            with self._lock:
                old = self._objects[resource]
                newer = {name: old[name] for name in items.keys() & old.keys() if _is_newer(old[name], items[name])}
                self._objects[resource] = items | newer

    def note(self, resource: Resource, kind: str | None, item: Mapping[str, Any]) -> bool:
        """An event; returns whether anything changed. `kind` is `None` for what was there at the beginning."""
        found = _slim(resource, dict(item))
        with self._lock:
            objects = self._objects[resource]
            if kind == "DELETED":
                return objects.pop(name_of(found), None) is not None
            before = objects.get(name_of(found))
            objects[name_of(found)] = found
        return before is None or _essence(before) != _essence(found)

    def view(self, cluster: Cluster) -> View:
        """All of it. Pods are listed while a ModelCache wants to go: too many to be followed for that alone.

        Raises:
            ClusterError: pods cannot be listed.
        """
        with self._lock:
            caches, nodes, model_nodes = (list(self._objects[resource].values()) for resource in KINDS)
        pods: Iterable[Object] = ()
        if any(is_deleted(cache) for cache in caches):
            pods = cluster.list(PODS, fields="status.phase!=Succeeded,status.phase!=Failed").items
        return View(caches=caches, nodes=nodes, model_nodes=model_nodes, pods=list(pods))


def _slim(resource: Resource, item: Object) -> Object:
    """Of a node, which reports images and addresses every few seconds, only what plans look at."""
    meta = {key: value for key, value in (item.get("metadata") or {}).items() if key != "managedFields"}
    if resource != NODES:
        return {**item, "metadata": meta}
    conditions = (item.get("status") or {}).get("conditions") or []
    ready = [{"type": "Ready", "status": c.get("status")} for c in conditions if c.get("type") == "Ready"]
    return {"metadata": meta, "status": {"conditions": ready}}


def _essence(item: Object) -> Object:
    meta = {key: value for key, value in item["metadata"].items() if key != "resourceVersion"}
    return {**item, "metadata": meta}


def _is_newer(one: Object, other: Object) -> bool:
    first, second = version_of(one), version_of(other)
    return first.isdigit() and second.isdigit() and int(first) > int(second)
