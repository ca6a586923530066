"""Lists of objects that stay up to date."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from typing import Final

from modelcar.backoff import Backoff
from modelcar.cluster.api import Cluster
from modelcar.cluster.resources import Object, Resource, name_of, namespace_of, version_of
from modelcar.errors import ClusterError, Expired
from modelcar.registry.cancel import Cancelled, CancelScope

__all__ = ["Followed"]

_log = logging.getLogger("modelcar.cluster")
_FIRST_PAUSE: Final = 1.0  # seconds after a failure
_LONGEST_PAUSE: Final = 60.0
_Key = tuple[str | None, str]


class Followed:
    """Objects that match selectors, followed in a thread of its own: listed, watched, and listed again.

    While the API server does not answer they are what they were last. `start` it, and `close` it.
    """

    def __init__(
        self,
        cluster: Cluster,
        resource: Resource,
        *,
        changed: threading.Event,
        namespace: str | None = None,
        labels: str | None = None,
        fields: str | None = None,
        pause: float = _FIRST_PAUSE,
    ) -> None:
        """`changed` is set whenever something did; `namespace` is `None` for all of them."""
        self._cluster = cluster
        self._resource = resource
        self._changed = changed
        self._namespace, self._labels, self._fields = namespace, labels, fields
        self._backoff = Backoff(pause, _LONGEST_PAUSE)
        self._lock = threading.Lock()
        self._objects: dict[_Key, Object] | None = None
        self._scope = CancelScope()
        self._thread = threading.Thread(target=self._run, name=f"follow-{resource.plural}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Waits until nothing of it runs."""
        self._scope.cancel()
        if self._thread.is_alive():
            self._thread.join()

    def objects(self) -> list[Object] | None:
        """All of them; `None` if they were never known."""
        with self._lock:
            return None if self._objects is None else list(self._objects.values())

    def _run(self) -> None:
        failures = 0
        with suppress(Cancelled), self._scope.active():
            while True:
                try:
                    version = self._list()
                    failures = 0
                    while True:
                        version = self._watch(version)
                except Expired:
                    continue
                except ClusterError as e:
                    self._scope.check()
                    hint = f"; {e.hint}" if e.hint else ""
                    _log.warning("%s cannot be followed: %s%s", self._resource.plural, e, hint)
                    failures += 1
                    self._scope.wait(self._backoff.after(failures))

    def _list(self) -> str:
        listing = self._cluster.list(self._resource, self._namespace, labels=self._labels, fields=self._fields)
        with self._lock:
            self._objects = {_key(item): item for item in listing.items}
        self._changed.set()
        return listing.version

    def _watch(self, version: str) -> str:
        """Returns the version from which to go on."""
        for event in self._cluster.watch(
            self._resource, self._namespace, version=version, labels=self._labels, fields=self._fields
        ):
            version = version_of(event.object) or version
            if event.type == "BOOKMARK":
                continue
            with self._lock:
                objects = self._objects if self._objects is not None else {}
                if event.type == "DELETED":
                    objects.pop(_key(event.object), None)
                else:
                    objects[_key(event.object)] = event.object
            self._changed.set()
        return version


def _key(item: Object) -> _Key:
    return namespace_of(item), name_of(item)
