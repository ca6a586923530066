"""A cluster in memory: versions, conflicts, generations, finalizers, selectors, watches."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from time import monotonic
from typing import Any, Final

from modelcar.cluster.api import Event, Listing, Patch
from modelcar.cluster.names import timestamp
from modelcar.cluster.patching import json_patched, merged
from modelcar.cluster.resources import MODEL_CACHES, MODEL_NODES, NODES, PODS, Object, Resource, name_of, namespace_of
from modelcar.cluster.selectors import matches_fields, matches_labels
from modelcar.errors import Conflict, Expired, InvalidObject, ObjectNotFound
from modelcar.registry.cancel import current_scope

__all__ = ["MemoryCluster"]

_WITH_STATUS: Final = frozenset({MODEL_CACHES, MODEL_NODES, NODES, PODS})
_LOOK: Final = 0.02  # seconds between two looks whether a watch was cancelled
_Key = tuple[Resource, str | None, str]


class MemoryCluster:
    """A `Cluster`. Safe to use from any thread.

    `before` is called with method, resource and name before anything is done: what it raises is raised to the caller.
    `check` is called with what is about to be stored, and raises `InvalidObject`.
    """

    def __init__(self, *objects: tuple[Resource, Object]) -> None:
        self.before: Callable[[str, Resource, str], None] = _nothing
        self.check: Callable[[Resource, Object], None] = _fine
        self.requests: list[tuple[str, str, str]] = []
        """Method, plural and name of everything that was asked for."""
        self._changed = threading.Condition()
        self._objects: dict[_Key, Object] = {}
        self._history: list[tuple[int, Resource, Object, Event]] = []
        self._version = 0
        self._oldest = 0
        for resource, body in objects:
            self.create(resource, body)
            if "status" in body and resource in _WITH_STATUS:
                self.patch(
                    resource, name_of(body), {"status": body["status"]}, namespace_of(body), subresource="status"
                )
        self.requests.clear()

    def expire(self) -> None:
        """Forget what happened: watches from an earlier version are told `Expired`."""
        with self._changed:
            self._oldest = self._version
            self._history.clear()

    def get(self, resource: Resource, name: str, namespace: str | None = None) -> Object:
        with self._changed:
            self._asked("get", resource, name)
            return deepcopy(self._find(resource, namespace, name))

    def list(
        self, resource: Resource, namespace: str | None = None, *, labels: str | None = None, fields: str | None = None
    ) -> Listing:
        with self._changed:
            self._asked("list", resource, "")
            found = [o for (r, _, _), o in sorted(self._objects.items(), key=_order) if r == resource]
            return Listing([deepcopy(o) for o in found if _is_meant(o, namespace, labels, fields)], str(self._version))

    def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        version: str,
        labels: str | None = None,
        fields: str | None = None,
        seconds: int = 240,
    ) -> Iterator[Event]:
        with self._changed:
            self._asked("watch", resource, "")
        return self._events(resource, namespace, int(version or 0), monotonic() + seconds, labels, fields)

    def _events(
        self,
        resource: Resource,
        namespace: str | None,
        seen: int,
        end: float,
        labels: str | None,
        fields: str | None,
    ) -> Iterator[Event]:
        while monotonic() < end:
            with self._changed:
                if seen < self._oldest:
                    raise Expired("too old resource version", status=410, reason="Expired")
                fresh = [(v, old, e) for v, r, old, e in self._history if v > seen and r == resource]
                if not fresh:
                    self._changed.wait(_LOOK)
            if scope := current_scope():
                scope.check()
            for at, old, event in fresh:
                seen = at
                before = event.type != "ADDED" and _is_meant(old, namespace, labels, fields)
                after = event.type != "DELETED" and _is_meant(event.object, namespace, labels, fields)
                if before or after:  # what comes to match, or no longer does, comes and goes for who watches
                    kind = "MODIFIED" if before and after else "ADDED" if after else "DELETED"
                    yield Event(kind, deepcopy(event.object))

    def create(self, resource: Resource, body: Object) -> Object:
        with self._changed:
            item = deepcopy(body)
            meta = item.setdefault("metadata", {})
            if not meta.get("name"):
                meta["name"] = f"{meta.get('generateName', '')}{uuid.uuid4().hex[:5]}"
            self._asked("create", resource, meta["name"])
            resource.path(meta.get("namespace"), meta["name"])
            if _key(resource, item) in self._objects:
                what = f"{resource.plural} {meta['name']!r} already exists"
                raise Conflict(what, status=409, reason="AlreadyExists")
            if resource in _WITH_STATUS:
                item.pop("status", None)
            meta |= {"uid": str(uuid.uuid4()), "creationTimestamp": timestamp(), "generation": 1}
            item = {"apiVersion": resource.api_version, "kind": resource.kind} | item
            return self._store("ADDED", resource, item)

    def replace(self, resource: Resource, body: Object, *, subresource: str | None = None) -> Object:
        with self._changed:
            self._asked("replace", resource, name_of(body))
            old = self._find(resource, namespace_of(body), name_of(body))
            return self._update(resource, old, deepcopy(body), subresource)

    def patch(
        self,
        resource: Resource,
        name: str,
        changes: Patch,
        namespace: str | None = None,
        *,
        subresource: str | None = None,
    ) -> Object:
        with self._changed:
            self._asked("patch", resource, name)
            old = self._find(resource, namespace, name)
            new = merged(old, changes) if isinstance(changes, Mapping) else json_patched(old, changes)
            return self._update(resource, old, new, subresource)

    def delete(self, resource: Resource, name: str, namespace: str | None = None) -> None:
        with self._changed:
            self._asked("delete", resource, name)
            item = deepcopy(self._find(resource, namespace, name))
            if not item["metadata"].get("finalizers"):
                self._remove(resource, item)
            elif "deletionTimestamp" not in item["metadata"]:
                item["metadata"]["deletionTimestamp"] = timestamp()
                self._store("MODIFIED", resource, item)

    def _update(self, resource: Resource, old: Object, new: Object, subresource: str | None) -> Object:
        expected = (new.get("metadata") or {}).get("resourceVersion")
        if expected and expected != old["metadata"]["resourceVersion"]:
            what = f"{resource.plural} {name_of(old)!r}: the object has been modified"
            raise Conflict(what, status=409, reason="Conflict")
        if subresource == "status":
            new = old | {"status": new.get("status", {})}
        elif resource in _WITH_STATUS:
            new = {key: value for key, value in new.items() if key != "status"}
            new |= {"status": old["status"]} if "status" in old else {}
        kept = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "resourceVersion")
        meta = {k: v for k, v in (new.get("metadata") or {}).items() if k not in kept}
        new = {**new, "metadata": meta | {k: old["metadata"][k] for k in kept if k in old["metadata"]}}
        if new == old:
            return deepcopy(old)
        if any(new.get(part) != old.get(part) for part in (new.keys() | old.keys()) - {"metadata", "status"}):
            new["metadata"]["generation"] += 1
        if "deletionTimestamp" in new["metadata"] and not new["metadata"].get("finalizers"):
            self._remove(resource, new)
            return deepcopy(new)
        return self._store("MODIFIED", resource, new)

    def _store(self, type_: str, resource: Resource, item: Object) -> Object:
        self.check(resource, item)
        self._version += 1
        item["metadata"]["resourceVersion"] = str(self._version)
        old = self._objects.get(_key(resource, item), item)
        self._objects[_key(resource, item)] = deepcopy(item)
        self._record(type_, resource, old, item)
        return deepcopy(item)

    def _remove(self, resource: Resource, item: Object) -> None:
        self._version += 1
        item["metadata"]["resourceVersion"] = str(self._version)
        old = self._objects.pop(_key(resource, item))
        self._record("DELETED", resource, old, item)

    def _record(self, type_: str, resource: Resource, old: Object, item: Object) -> None:
        self._history.append((self._version, resource, old, Event(type_, deepcopy(item))))
        self._changed.notify_all()

    def _find(self, resource: Resource, namespace: str | None, name: str) -> Object:
        resource.path(namespace, name)
        found = self._objects.get((resource, namespace, name))
        if found is None:
            raise ObjectNotFound(f"{resource.plural} {name!r} not found", status=404, reason="NotFound")
        return found

    def _asked(self, method: str, resource: Resource, name: str) -> None:
        self.requests.append((method, resource.plural, name))
        self.before(method, resource, name)


def _key(resource: Resource, item: Object) -> _Key:
    name = name_of(item)
    if not name:
        raise InvalidObject(f"{resource.plural}: a name is missing", status=422, reason="Invalid")
    return resource, namespace_of(item), name


def _order(entry: tuple[_Key, Object]) -> tuple[str, str]:
    (_, namespace, name), _ = entry
    return namespace or "", name


def _is_meant(item: Object, namespace: str | None, labels: str | None, fields: str | None) -> bool:
    given: Mapping[str, Any] = item.get("metadata") or {}
    return (
        (namespace is None or given.get("namespace") == namespace)
        and matches_labels(labels, given.get("labels") or {})
        and matches_fields(fields, item)
    )


def _nothing(_method: str, _resource: Resource, _name: str) -> None:
    pass


def _fine(_resource: Resource, _item: Object) -> None:
    pass
