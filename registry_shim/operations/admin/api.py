"""`/api/v1/…`: JSON in, JSON out.

| | |
|---|---|
| `GET status`, `images`, `blobs` | what is here, what arrives, and how the node does |
| `POST pins`, `DELETE pins?reference=` | keep an image, or not any more |
| `POST gc` | free room: `{"free": BYTES, "dry_run": true}` |
| `GET precache`, `POST precache`, `DELETE precache?reference=`, `POST precache/limit` | what is fetched ahead |
| `GET revoked`, `POST revoked`, `DELETE revoked?digest=` | what this node serves to nobody |
| `POST rescan` | believe a scan of this node no longer: `{"reference": …}` |
| `GET mounts`, `POST mounts`, `POST mounts/check`, `POST mounts/started`, `DELETE mounts?target=` | lazy layers |
| `POST reload`, `POST drain` | |

What goes wrong is `{"error": {"kind": …, "message": …, "hint": …}}`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from modelcar.errors import InvalidDocument, ModelcarError, NotFound, Refused, StorageError, UsageError
from modelcar.oci import Digest, Reference, compact_json, parse_object
from modelcar.oci.document import Fields
from modelcar.serving.messages import ClientGone, Request, Response
from registry_shim.operations.admin.describe import describe_blob, describe_images, describe_plan, describe_status
from registry_shim.operations.admin.mounts import mount_routes
from registry_shim.operations.admin.parts import Parts
from registry_shim.precache.entry import image_from

__all__ = ["PREFIX", "Admin"]

PREFIX: Final = "/api/v1/"
_MAX_BODY: Final = 1 << 20  # bytes
_STATUS: Final[tuple[tuple[type[ModelcarError], int, str], ...]] = (
    (NotFound, 404, "not-found"),
    (UsageError, 400, "usage"),
    (InvalidDocument, 400, "usage"),
    (Refused, 403, "refused"),
    (StorageError, 507, "storage"),
)
_log = logging.getLogger("registry_shim")
_Answer = Callable[[Request, Fields], Awaitable[Any]]


class Admin:
    """Answers administrators. Who asks has been found to be one."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._routes: dict[tuple[str, str], _Answer] = {
            ("GET", "status"): self._status,
            ("GET", "images"): self._images,
            ("GET", "blobs"): self._blobs,
            ("POST", "pins"): self._pin,
            ("DELETE", "pins"): self._unpin,
            ("POST", "gc"): self._gc,
            ("GET", "precache"): self._precache,
            ("POST", "precache"): self._add,
            ("DELETE", "precache"): self._cancel,
            ("POST", "precache/limit"): self._limit,
            ("GET", "revoked"): self._revoked,
            ("POST", "revoked"): self._revoke,
            ("DELETE", "revoked"): self._allow,
            ("POST", "rescan"): self._rescan,
            ("POST", "reload"): self._reload,
            ("POST", "drain"): self._drain,
            **(mount_routes(parts.mounts) if parts.mounts is not None else {}),
        }

    async def handle(self, request: Request) -> Response:
        """The only exception that leaves is `ClientGone`."""
        try:
            path = request.path.removeprefix(PREFIX) if request.path.startswith(PREFIX) else ""
            answer = self._routes.get((request.method, path))
            if answer is None:
                allowed = [method for method, known in self._routes if known == path]
                if not allowed:
                    raise NotFound(f"{request.path} is not part of this API")
                return _json(405, _error("usage", f"{path} takes {', '.join(allowed)}"), {"Allow": ", ".join(allowed)})
            return _json(200, await answer(request, await _body(request)))
        except ClientGone:
            raise
        except ModelcarError as e:
            status, kind = next(((status, kind) for cls, status, kind in _STATUS if isinstance(e, cls)), (500, "world"))
            return _json(status, _error(kind, str(e), e.hint))
        except Exception as e:
            _log.error("%s %s: %s: %s", request.method, request.path, type(e).__name__, e)
            return _json(500, _error("world", f"internal error: {type(e).__name__}"))

    async def _status(self, _request: Request, _body: Fields) -> Any:
        return await asyncio.to_thread(describe_status, self._parts)

    async def _images(self, _request: Request, _body: Fields) -> Any:
        return {"images": await asyncio.to_thread(describe_images, self._parts)}

    async def _blobs(self, _request: Request, _body: Fields) -> Any:
        return {"blobs": [describe_blob(blob) for blob in await asyncio.to_thread(self._parts.blobs)]}

    async def _pin(self, _request: Request, body: Fields) -> Any:
        pin = await asyncio.to_thread(self._parts.space.pin, Reference.parse(body.text("reference")))
        return {"reference": pin.name, "digest": str(pin.digest) if pin.digest else None}

    async def _unpin(self, request: Request, _body: Fields) -> Any:
        reference = Reference.parse(_parameter(request, "reference"))
        await asyncio.to_thread(self._parts.space.unpin, reference)
        return {"reference": str(reference)}

    async def _gc(self, _request: Request, body: Fields) -> Any:
        dry_run, wanted = body.flag("dry_run"), body.size("free") if body.has("free") else 0
        plan = await asyncio.to_thread(self._parts.space.collect, wanted=wanted, dry_run=dry_run)
        return {"dry_run": dry_run, **describe_plan(plan)}

    async def _precache(self, request: Request, _body: Fields) -> Any:
        name = request.parameter("reference")
        if name is None:
            return await asyncio.to_thread(self._parts.precache.status)
        return await asyncio.to_thread(self._parts.precache.get, str(Reference.parse(name)))

    async def _add(self, _request: Request, body: Fields) -> Any:
        source = body.optional_text("source")
        if source not in (None, "command", "api"):
            raise UsageError("source is command or api")
        return await asyncio.to_thread(self._parts.precache.add, image_from(body), source or "api")

    async def _cancel(self, request: Request, _body: Fields) -> Any:
        name = str(Reference.parse(_parameter(request, "reference")))
        await asyncio.to_thread(self._parts.precache.cancel, name)
        return {"reference": name}

    async def _limit(self, _request: Request, body: Fields) -> Any:
        rate = body.size("rate")
        await asyncio.to_thread(self._parts.precache.limit, rate)
        return {"rate": rate}

    async def _revoked(self, _request: Request, _body: Fields) -> Any:
        return {"revoked": [{"digest": str(d), "reason": reason} for d, reason in self._parts.revoked.all().items()]}

    async def _revoke(self, _request: Request, body: Fields) -> Any:
        digest = Digest.parse(body.text("digest"))
        await asyncio.to_thread(self._parts.revoked.add, digest, body.optional_text("reason") or "")
        return await self._judged(digest)

    async def _allow(self, request: Request, _body: Fields) -> Any:
        digest = Digest.parse(_parameter(request, "digest"))
        await asyncio.to_thread(self._parts.revoked.remove, digest)
        return await self._judged(digest)

    async def _judged(self, digest: Digest) -> Any:
        if not await self._parts.judge():
            raise StorageError(
                "it is written down, and the gate cannot read its policies to take it over",
                hint="registry-shim status tells what is wrong with them",
            )
        return {"digest": str(digest)}

    async def _rescan(self, _request: Request, body: Fields) -> Any:
        return dict(await self._parts.rescan(Reference.parse(body.text("reference"))))

    async def _reload(self, _request: Request, _body: Fields) -> Any:
        await self._parts.reload()
        return {}

    async def _drain(self, _request: Request, _body: Fields) -> Any:
        await self._parts.drain()
        return {}


def _parameter(request: Request, name: str) -> str:
    value = request.parameter(name)
    if not value:
        raise UsageError(f"the parameter {name} is missing")
    return value


async def _body(request: Request) -> Fields:
    """A JSON object; nothing reads as an empty one."""
    content = bytearray()
    async for batch in request.body.batches(_MAX_BODY):
        content += b"".join(batch)
        if len(content) > _MAX_BODY:
            raise UsageError(f"a request has at most {_MAX_BODY} bytes")
    return Fields(parse_object(bytes(content), "request") if content else {}, "request")


def _error(kind: str, message: str, hint: str | None = None) -> dict[str, Any]:
    return {"error": {"kind": kind, "message": message, **({"hint": hint} if hint else {})}}


def _json(status: int, value: Any, headers: dict[str, str] | None = None) -> Response:
    return Response(
        status=status,
        headers={"Content-Type": "application/json", "Cache-Control": "no-store", **(headers or {})},
        body=compact_json(value),
    )
