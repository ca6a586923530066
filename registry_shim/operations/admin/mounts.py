"""`/api/v1/mounts…`: the snapshotter asks for the lazy layers of images."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from modelcar.errors import UsageError
from modelcar.oci import Digest, Reference
from modelcar.oci.document import Fields
from modelcar.serving.messages import Request
from registry_shim.operations.admin.parts import MountsPart

__all__ = ["mount_routes"]

_Answer = Callable[[Request, Fields], Awaitable[Any]]


def mount_routes(mounts: MountsPart) -> dict[tuple[str, str], _Answer]:
    """By method and path."""

    async def listed(_request: Request, _body: Fields) -> Any:
        return {"mounts": await asyncio.to_thread(mounts.all)}

    async def check(_request: Request, body: Fields) -> Any:
        reference, manifest = Reference.parse(body.text("reference")), Digest.parse(body.text("manifest"))
        await asyncio.to_thread(mounts.check, reference, manifest, Digest.parse(body.text("layer")))
        return {}

    async def add(_request: Request, body: Fields) -> Any:
        reference, manifest = Reference.parse(body.text("reference")), Digest.parse(body.text("manifest"))
        target = _absolute(body.text("target"))
        added = await asyncio.to_thread(mounts.add, body.text("id"), reference, manifest, target)
        return {"id": added.id, "plan": str(added.plan), "socket": str(added.socket)}

    async def started(_request: Request, body: Fields) -> Any:
        await asyncio.to_thread(mounts.started, body.text("id"), body.size("supervisor"), body.text("front"))
        return {}

    async def remove(request: Request, _body: Fields) -> Any:
        target = _absolute(request.parameter("target") or "")
        await asyncio.to_thread(mounts.remove, target)
        return {"target": str(target)}

    return {
        ("GET", "mounts"): listed,
        ("POST", "mounts"): add,
        ("POST", "mounts/check"): check,
        ("POST", "mounts/started"): started,
        ("DELETE", "mounts"): remove,
    }


def _absolute(text: str) -> Path:
    path = Path(text)
    if not path.is_absolute():
        raise UsageError("target is not an absolute path")
    return path
