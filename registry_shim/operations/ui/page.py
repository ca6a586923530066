"""`/ui`: the document, its script and style, and `/ui/data.json`.

Names of models, reasons and addresses are other people's text: the script only ever sets text, and the policy of the
page lets nothing run, load or be sent anywhere but what stands here.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import time
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import Final

from modelcar.serving.messages import Request, Response
from modelcar.serving.threads import in_thread
from registry_shim.operations.sights import Sights
from registry_shim.operations.ui.data import snapshot

__all__ = ["StatusPage"]

_FILES: Final = {
    "/ui": ("index.html", "text/html; charset=utf-8"),
    "/ui/": ("index.html", "text/html; charset=utf-8"),
    "/ui/app.js": ("app.js", "text/javascript; charset=utf-8"),
    "/ui/style.css": ("style.css", "text/css; charset=utf-8"),
}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_FRESH_SECONDS: Final = 0.5
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class StatusPage:
    """`sights` says what is shown, `totals` bytes by where they came from, `problem` why the node is not ready."""

    def __init__(
        self,
        totals: Callable[[], dict[str, float]],
        problem: Callable[[], str | None],
        sights: Sights | None = None,
        *,
        fresh_seconds: float = _FRESH_SECONDS,
    ) -> None:
        self.sights = sights or Sights()
        self._totals = totals
        self._problem = problem
        self._started = time.time()
        self._fresh_seconds = fresh_seconds
        self._one = asyncio.Lock()
        self._shown, self._made = b"", float("-inf")

    async def handle(self, request: Request) -> Response:
        if not _means_us(request):
            return _text(421, "this page is shown under the address or the name localhost of its node")
        if request.path == "/ui/data.json":
            async with self._one:  # however many look at it, parts are asked twice a second at most
                if time.monotonic() - self._made >= self._fresh_seconds:
                    self._shown = await in_thread(self._document)
                    self._made = time.monotonic()
                body = self._shown
            return Response(status=200, headers={"Content-Type": "application/json", **_HEADERS}, body=body)
        found = _FILES.get(request.path)
        if found is None:
            return _text(404, "not found")
        name, media_type = found
        return Response(status=200, headers={"Content-Type": media_type, **_HEADERS}, body=_file(name))

    def _document(self) -> bytes:
        document = snapshot(self.sights, totals=self._totals(), problem=self._problem(), started=self._started)
        return json.dumps(document).encode()


def _means_us(request: Request) -> bool:
    """On loopback nobody is asked for a password, so a web page whose name somebody points to this machine (DNS
    rebinding) must not read what it likes."""
    if request.subject is not None:
        return True
    host = request.headers.get("host", "")
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and not host.endswith("]") else host
    if name.lower() in ("", "localhost"):
        return True
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _text(status: int, text: str) -> Response:
    headers = {"Content-Type": "text/plain; charset=utf-8", **_HEADERS}
    return Response(status=status, headers=headers, body=f"{text}\n".encode())


@cache
def _file(name: str) -> bytes:
    return resources.files(__package__).joinpath(name).read_bytes()
