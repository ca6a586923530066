"""What the shim serves about itself: `/healthz`, `/readyz`, `/metrics`, and the status page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from modelcar.serving.messages import Request, Response
from modelcar.serving.threads import in_thread
from registry_shim.operations.health import Health
from registry_shim.operations.metrics import CONTENT_TYPE, Metrics
from registry_shim.operations.ui.page import StatusPage

__all__ = ["Pages"]

Handler = Callable[[Request], Awaitable[Response]]

_TEXT: Final = "text/plain; charset=utf-8"


class Pages:
    """`around` a handler on the same listener, or `handle` alone on one of their own."""

    def __init__(self, health: Health, metrics: Metrics, status: StatusPage) -> None:
        self._health = health
        self._metrics = metrics
        self._status = status

    def around(self, handler: Handler, *, only_health: bool = False) -> Handler:
        """These pages, and `handler` for everything else. `only_health` leaves the others to another listener."""

        async def both(request: Request) -> Response:
            if request.path.startswith("/v2"):
                return await handler(request)
            found = self._probe(request) if only_health else await self._find(request)
            return found or await handler(request)

        return both

    async def handle(self, request: Request) -> Response:
        return await self._find(request) or Response(status=404, headers={"Content-Type": _TEXT}, body=b"not found\n")

    async def _find(self, request: Request) -> Response | None:
        if request.path == "/metrics":
            if request.method not in ("GET", "HEAD"):
                return _not_allowed()
            body = await in_thread(self._metrics.exposition)
            return Response(status=200, headers={"Content-Type": CONTENT_TYPE}, body=body)
        if request.path == "/ui" or request.path.startswith("/ui/"):
            if request.method not in ("GET", "HEAD"):
                return _not_allowed()
            return await self._status.handle(request)
        return self._probe(request)

    def _probe(self, request: Request) -> Response | None:
        look = {"/healthz": self._health.dead, "/readyz": self._health.unready}.get(request.path)
        if look is None:
            return None
        if request.method not in ("GET", "HEAD"):
            return _not_allowed()
        problem = look()
        body = "ok\n" if problem is None else f"{problem}\n"
        return Response(status=200 if problem is None else 503, headers={"Content-Type": _TEXT}, body=body.encode())


def _not_allowed() -> Response:
    headers = {"Content-Type": _TEXT, "Allow": "GET, HEAD"}
    return Response(status=405, headers=headers, body=b"this can only be read\n")
