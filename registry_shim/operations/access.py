"""A line of the log for every request, and several who look at exchanges as one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final

from modelcar.serving.exchange import Exchange, Observer
from modelcar.serving.messages import Request
from registry_shim.operations.routes import route_of

__all__ = ["AccessLog", "Observers"]

_NOTES: Final = ("cache", "upstream", "peer", "mirror")
_DIGEST: Final = len("sha256:") + 12
_log = logging.getLogger("registry_shim.access")


class AccessLog:
    """Says who asked for what and what came of it: no query, no headers, no body. An `Observer`."""

    def begun(self, request: Request) -> None:
        pass

    def finished(self, exchange: Exchange) -> None:
        if not _log.isEnabledFor(logging.INFO):
            return
        request = exchange.request
        route = route_of(request.path)
        if route == "operations":
            return  # somebody asks for these every few seconds
        notes = exchange.response.notes if exchange.response is not None else {}
        extra: dict[str, Any] = {
            "client": request.client or None,
            "subject": request.subject,
            "method": request.method,
            "route": route,
            "repository": notes.get("repository") or _repository(request.path),
            "digest": str(notes["digest"])[:_DIGEST] if "digest" in notes else None,
            "status": exchange.status,
            "bytes": exchange.sent,
            "seconds": round(exchange.seconds, 4),
            "complete": None if exchange.complete else False,
            **{name: notes[name] for name in _NOTES if name in notes},
        }
        _log.info("request", extra=extra)


def _repository(path: str) -> str | None:
    """What stands between `/v2/` and the endpoint's word; no reference, for that may be anything."""
    if not path.startswith("/v2/"):
        return None
    for word in ("/manifests/", "/blobs/", "/tags/", "/referrers/"):
        before, found, _ = path.removeprefix("/v2/").rpartition(word)
        if found:
            return before[:255]
    return None


class Observers:
    """All of these, in order. An `Observer`."""

    def __init__(self, members: Sequence[Observer]) -> None:
        self._members = tuple(members)

    def begun(self, request: Request) -> None:
        for member in self._members:
            member.begun(request)

    def finished(self, exchange: Exchange) -> None:
        for member in self._members:
            member.finished(exchange)
