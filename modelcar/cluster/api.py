"""A Kubernetes API server: plain dictionaries in and out, errors in our words."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import urlencode

from modelcar.backoff import Backoff, retry_after
from modelcar.cluster.access import Access
from modelcar.cluster.resources import Object, Resource, name_of, namespace_of
from modelcar.errors import (
    ClusterError,
    ClusterForbidden,
    ClusterUnreachable,
    Conflict,
    Expired,
    InvalidObject,
    ObjectNotFound,
    ProtocolViolation,
    UsageError,
)
from modelcar.oci import compact_json
from modelcar.registry.cancel import current_scope
from modelcar.registry.settings import ClientSettings
from modelcar.registry.transport import Answer, Broken, Transport

__all__ = ["ApiServer", "Cluster", "Event", "Listing", "Patch"]

Patch = Mapping[str, Any] | Sequence[Mapping[str, Any]]
"""A mapping is a JSON merge patch (`None` removes), a list a JSON patch."""

_PAGE: Final = 500  # objects a request
_MAX_ANSWER: Final = 64 << 20  # bytes
_MAX_EVENT: Final = 16 << 20  # bytes; etcd keeps no object of more than 1.5 MiB
_CONNECTIONS: Final = 16
_ATTEMPTS: Final = 3
_BACKOFF: Final = Backoff(0.5, 1.0)
_LONGEST_WAIT: Final = 5.0  # seconds, whatever is asked for


@dataclass(frozen=True, slots=True)
class Listing:
    """Objects as they all were at one `version`, from which a watch goes on."""

    items: list[Object]
    version: str


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to an object: `ADDED`, `MODIFIED`, `DELETED`, or `BOOKMARK`, which tells but a version."""

    type: str
    object: Object


class Cluster(Protocol):
    """The API server, or something like it. Every method raises `ClusterError` and its kinds, and is safe to use from
    any thread; a `CancelScope` that is active there ends what waits. `namespace` is `None` for what belongs to none."""

    def get(self, resource: Resource, name: str, namespace: str | None = None) -> Object:
        """Raises `ObjectNotFound`."""

    def list(
        self, resource: Resource, namespace: str | None = None, *, labels: str | None = None, fields: str | None = None
    ) -> Listing:
        """All, or those that match the selectors, as `kubectl` takes them (`app=shim,tier!=test`)."""

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
        """What happens from `version` on, until the server has had enough. Raises `Expired`: list again."""

    def create(self, resource: Resource, body: Object) -> Object:
        """As it is now. Raises `Conflict`: it exists; `InvalidObject`."""

    def replace(self, resource: Resource, body: Object, *, subresource: str | None = None) -> Object:
        """As it is now. With a `resourceVersion` in `body` raises `Conflict` if it has changed since."""

    def patch(
        self,
        resource: Resource,
        name: str,
        changes: Patch,
        namespace: str | None = None,
        *,
        subresource: str | None = None,
    ) -> Object:
        """As it is now. A `resourceVersion` in a merge patch is compared, too."""

    def delete(self, resource: Resource, name: str, namespace: str | None = None) -> None:
        """It may stay until its finalizers are gone. Raises `ObjectNotFound`."""


class ApiServer:
    """A `Cluster` over HTTP."""

    def __init__(self, access: Access, *, timeout: float = 30.0) -> None:
        """`timeout` is in seconds: how long an answer may take."""
        self.access = access
        self._transport = Transport(
            ClientSettings(timeout=timeout, direct=True, concurrency=_CONNECTIONS), access.context
        )

    def close(self) -> None:
        self._transport.close()

    def get(self, resource: Resource, name: str, namespace: str | None = None) -> Object:
        return self._object("GET", resource.path(namespace, name))

    def list(
        self, resource: Resource, namespace: str | None = None, *, labels: str | None = None, fields: str | None = None
    ) -> Listing:
        items: list[Object] = []
        query = _query(labels, fields) | {"limit": str(_PAGE)}
        while True:
            page = self._object("GET", resource.path(namespace), query=query)
            items += [_typed(resource, item) for item in page.get("items") or []]
            meta = page.get("metadata") or {}
            if not meta.get("continue"):
                return Listing(items, str(meta.get("resourceVersion") or ""))
            query["continue"] = str(meta["continue"])

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
        query = {
            "watch": "1",
            "resourceVersion": version,
            "timeoutSeconds": str(seconds),
            "allowWatchBookmarks": "true",
        }
        path = resource.path(namespace)
        answer = self._ask("GET", path, query=_query(labels, fields) | query, patience=seconds + 30.0)
        try:
            for line in _lines(answer, path):
                event = _parsed(line, path)
                body = event.get("object")
                body = body if isinstance(body, dict) else {}
                if event.get("type") == "ERROR":
                    raise _refusal(int(body.get("code") or 500), body, f"watch {path}")
                yield Event(str(event.get("type")), body)
            _check_wanted()
        except Broken as e:
            _check_wanted()  # a scope that is cancelled cuts the connection
            raise self._unreachable(e) from None
        finally:
            answer.close()

    def create(self, resource: Resource, body: Object) -> Object:
        return self._object("POST", resource.path(namespace_of(body)), body=_typed(resource, body))

    def replace(self, resource: Resource, body: Object, *, subresource: str | None = None) -> Object:
        path = resource.path(namespace_of(body), name_of(body), subresource)
        return self._object("PUT", path, body=_typed(resource, body))

    def patch(
        self,
        resource: Resource,
        name: str,
        changes: Patch,
        namespace: str | None = None,
        *,
        subresource: str | None = None,
    ) -> Object:
        kind = "merge-patch" if isinstance(changes, Mapping) else "json-patch"
        path = resource.path(namespace, name, subresource)
        return self._object("PATCH", path, body=changes, kind=f"application/{kind}+json")

    def delete(self, resource: Resource, name: str, namespace: str | None = None) -> None:
        self._object("DELETE", resource.path(namespace, name))

    def _object(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Patch | None = None,
        kind: str = "application/json",
    ) -> Object:
        answer = self._ask(method, path, query=query, body=body, kind=kind)
        try:
            return _parsed(answer.content(_MAX_ANSWER, path), path)
        except Broken as e:
            raise self._unreachable(e) from None
        except ProtocolViolation as e:
            raise ClusterError(str(e)) from None

    def _ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Patch | None = None,
        kind: str = "application/json",
        patience: float | None = None,
    ) -> Answer:
        """An answer that says yes. What cannot have been done yet is tried again."""
        url = self.access.server + path + (f"?{urlencode(query)}" if query else "")
        content = None if body is None else compact_json(body)
        for attempt in range(1, _ATTEMPTS + 1):
            headers = {"Accept": "application/json"} | ({"Content-Type": kind} if content is not None else {})
            if token := self._token():
                headers["Authorization"] = f"Bearer {token}"
            try:
                answer = self._transport.request(method, url, headers, content, patience)
            except Broken as e:
                if e.final or attempt == _ATTEMPTS or (e.connected and method != "GET"):
                    raise self._unreachable(e) from None
                _wait(_BACKOFF.after(attempt))
                continue
            if 200 <= answer.status < 300:
                return answer
            error = _answered(answer, f"{method.lower()} {path}")
            if attempt == _ATTEMPTS or not (answer.status == 429 or (method == "GET" and answer.status >= 500)):
                raise error
            _wait(min(_LONGEST_WAIT, error.retry_after or _BACKOFF.after(attempt)))
        raise AssertionError("unreachable")

    def _token(self) -> str:
        try:
            return self.access.token()
        except UsageError as e:  # its file was there when we began
            raise ClusterForbidden(str(e), hint=e.hint) from None

    def _unreachable(self, error: Broken) -> ClusterUnreachable:
        hint = None if error.connected else "check the address in the kubeconfig, and that the API server runs"
        return ClusterUnreachable(f"the API server at {self.access.server} does not answer: {error}", hint=hint)


def _typed(resource: Resource, item: Object) -> Object:
    """An API server leaves these two out of lists, and wants them of whoever writes."""
    return {"apiVersion": resource.api_version, "kind": resource.kind} | item


def _query(labels: str | None, fields: str | None) -> dict[str, str]:
    given = {"labelSelector": labels, "fieldSelector": fields}
    return {name: value for name, value in given.items() if value}


def _check_wanted() -> None:
    """Raises `Cancelled`."""
    if scope := current_scope():
        scope.check()


def _wait(seconds: float) -> None:
    scope = current_scope()
    if scope is not None:
        scope.wait(seconds)
    else:
        threading.Event().wait(seconds)


def _lines(answer: Answer, path: str) -> Iterator[bytes]:
    rest = b""
    while data := answer.read_some(64 << 10):
        *lines, rest = (rest + data).split(b"\n")
        if len(rest) > _MAX_EVENT:
            raise ClusterError(f"watch {path}: an event has no end")
        yield from (line for line in lines if line.strip())


def _parsed(raw: bytes, path: str) -> Object:
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise ClusterError(f"{path}: what answers is no Kubernetes API server", hint="check the address")
    return document


def _answered(answer: Answer, what: str) -> ClusterError:
    """What a refusal says; its body is a `Status` object, or a proxy's page."""
    try:
        status = json.loads(answer.beginning())
    except (ValueError, RecursionError):
        status = {}
    error = _refusal(answer.status, status if isinstance(status, dict) else {}, what)
    error.retry_after = retry_after(answer.headers.get("Retry-After"))
    return error


_KINDS: Final[dict[int, type[ClusterError]]] = {
    400: InvalidObject,
    401: ClusterForbidden,
    403: ClusterForbidden,
    404: ObjectNotFound,
    409: Conflict,
    410: Expired,
    422: InvalidObject,
}


def _refusal(code: int, status: Mapping[str, Any], what: str) -> ClusterError:
    unwell = code == 429 or code >= 500
    kind = _KINDS.get(code, ClusterUnreachable if unwell else ClusterError)
    reason = str(status.get("reason") or "") or None
    told = " ".join(str(status.get("message") or f"HTTP {code}").split())[:500]
    hint = "its service account needs a role that allows this" if kind is ClusterForbidden else None
    return kind(f"{what}: {told}", status=code, reason=reason, hint=hint)
