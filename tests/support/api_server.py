"""A `MemoryCluster` behind HTTP, as clients of a Kubernetes API server expect it: paths, discovery, errors, watches."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from modelcar.cluster import resources
from modelcar.cluster.resources import Object, Resource
from modelcar.cluster.testing import MemoryCluster
from modelcar.errors import ClusterError
from modelcar.registry.cancel import Cancelled, CancelScope

__all__ = ["served"]

KNOWN: Final = (
    *(value for value in vars(resources).values() if isinstance(value, Resource)),
    # kopf asks for these of its own accord.
    Resource(plural="namespaces", kind="Namespace", namespaced=False),
)
_VERBS: Final = ["create", "delete", "get", "list", "patch", "update", "watch"]


@contextmanager
def served(cluster: MemoryCluster, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Yields `http://127.0.0.1:PORT`, or `https://`; in the network namespace of the thread that comes here."""
    scope = CancelScope()

    class Handler(_Handler):
        pass

    Handler.cluster, Handler.scope = cluster, scope
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
    finally:
        scope.cancel()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cluster: MemoryCluster
    scope: CancelScope

    def log_message(self, *_: Any) -> None:
        pass

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        path = [unquote(part) for part in parts.path.strip("/").split("/")]
        try:
            if (found := _discovery(path)) is not None:
                return self._answer(200, found)
            resource, namespace, name, subresource = _target(path)
            if self.command == "GET" and query.get("watch"):
                return self._watch(resource, namespace, query)
            self._answer(*self._done(resource, namespace, name, subresource, body, query))
        except ClusterError as e:
            self._answer(e.status or 500, _status(e))
        except OSError:
            self.close_connection = True  # who asked has gone

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle  # noqa: N815  # the standard library's names

    def _done(
        self, resource: Resource, namespace: str | None, name: str, sub: str | None, body: Any, query: dict[str, str]
    ) -> tuple[int, Object]:
        cluster = self.cluster
        match self.command:
            case "GET" if name:
                return 200, cluster.get(resource, name, namespace)
            case "GET":
                selectors = {"labels": query.get("labelSelector"), "fields": query.get("fieldSelector")}
                return 200, _page(resource, cluster.list(resource, namespace, **selectors), query)
            case "POST" | "PUT" if not {"apiVersion", "kind"} <= body.keys():
                raise ClusterError("the object provided is unrecognized", status=400)
            case "POST":
                if namespace:
                    body.setdefault("metadata", {}).setdefault("namespace", namespace)
                return 201, cluster.create(resource, body)
            case "PUT":
                return 200, cluster.replace(resource, body, subresource=sub)
            case "PATCH":
                return 200, cluster.patch(resource, name, body, namespace, subresource=sub)
            case _:
                cluster.delete(resource, name, namespace)
                return 200, {"kind": "Status", "apiVersion": "v1", "status": "Success"}

    def _watch(self, resource: Resource, namespace: str | None, query: dict[str, str]) -> None:
        events = self.cluster.watch(
            resource,
            namespace,
            version=query.get("resourceVersion") or str(_latest(self.cluster, resource)),
            labels=query.get("labelSelector"),
            fields=query.get("fieldSelector"),
            seconds=int(query.get("timeoutSeconds") or 240),
        )
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            with self.scope.active():
                for event in events:
                    self._line({"type": event.type, "object": event.object})
            self.wfile.write(b"0\r\n\r\n")
        except ClusterError as e:
            self._line({"type": "ERROR", "object": _status(e)})
            self.wfile.write(b"0\r\n\r\n")
        except (Cancelled, OSError):
            self.close_connection = True

    def _line(self, event: Object) -> None:
        line = json.dumps(event).encode() + b"\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.flush()

    def _answer(self, status: int, body: Object) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _latest(cluster: MemoryCluster, resource: Resource) -> str:
    return cluster.list(resource).version


def _page(resource: Resource, listing: Any, query: dict[str, str]) -> Object:
    """As a server does, without kind and apiVersion in the items, and in pages of at most three."""
    start, items = int(query.get("continue") or 0), listing.items
    size = min(3, int(query["limit"])) if "limit" in query else len(items)
    page = [{k: v for k, v in item.items() if k not in ("kind", "apiVersion")} for item in items[start : start + size]]
    meta = {"resourceVersion": listing.version}
    if start + size < len(items):
        meta["continue"] = str(start + size)
    return {"kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": meta, "items": page}


def _target(path: list[str]) -> tuple[Resource, str | None, str, str | None]:
    group, version, rest = ("", path[1], path[2:]) if path[0] == "api" else (path[1], path[2], path[3:])
    namespace = None
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    for resource in KNOWN:
        if (resource.group, resource.version, resource.plural) == (group, version, rest[0]):
            return resource, namespace, "".join(rest[1:2]), rest[2] if len(rest) > 2 else None
    raise ClusterError(f"the server could not find the requested resource: {'/'.join(path)}", status=404)


def _discovery(path: list[str]) -> Object | None:
    match path:
        case ["version"]:
            return {"major": "1", "minor": "36", "gitVersion": "v1.36.0"}
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"]}
        case ["apis"]:
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(g) for g in _groups(KNOWN)]}
        case ["api", "v1"]:
            return _kinds("v1", [r for r in KNOWN if not r.group])
        case ["apis", group, version]:
            return _kinds(f"{group}/{version}", [r for r in KNOWN if (r.group, r.version) == (group, version)])
    return None


def _groups(known: Iterable[Resource]) -> list[tuple[str, str]]:
    return sorted({(r.group, r.version) for r in known if r.group})


def _group(group: tuple[str, str]) -> Object:
    version = {"groupVersion": "/".join(group), "version": group[1]}
    return {"name": group[0], "versions": [version], "preferredVersion": version}


def _kinds(group_version: str, kinds: list[Resource]) -> Object:
    found = []
    for kind in kinds:
        each = {"kind": kind.kind, "namespaced": kind.namespaced, "verbs": _VERBS}
        found.append({"name": kind.plural, "singularName": kind.kind.lower(), **each})
        found.append({"name": f"{kind.plural}/status", "singularName": "", **each})
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": found}


def _status(error: ClusterError) -> Object:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": str(error),
        "reason": error.reason or "",
        "code": error.status or 500,
    }
