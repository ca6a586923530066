"""Blobs: pull whole or in part, and delete."""

from __future__ import annotations

import asyncio

from modelcar.oci import Digest
from registry_shim.distribution.context import Call
from registry_shim.distribution.errors import DistributionError
from registry_shim.distribution.ranges import Unsatisfiable, is_current, requested_range
from registry_shim.distribution.repositories import Repository
from registry_shim.serving.messages import Content, Response

__all__ = ["delete", "get"]


async def get(call: Call) -> Response:
    """A blob, from a repository that it was pushed to or mounted into."""
    digest = Digest.parse(call.rest)
    if not call.has_blob(digest):
        raise DistributionError("BLOB_UNKNOWN", f"{digest} is not in {call.name}")
    etag = f'"{digest}"'
    headers = {
        "Content-Type": "application/octet-stream",
        "Docker-Content-Digest": str(digest),
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "max-age=31536000, immutable",
    }
    if is_current(call.request.headers, etag):
        return Response(status=304, headers=headers)
    content = call.context.store.map(digest)
    try:
        part = requested_range(call.request.headers, content.size, etag) if call.request.method == "GET" else None
    except Unsatisfiable:
        message = f"the blob has {content.size} bytes"
        unsatisfied = {"Content-Range": f"bytes */{content.size}"}
        raise DistributionError("SIZE_INVALID", message, status=416, headers=unsatisfied) from None
    if part is None:
        return Response(status=200, headers=headers, body=Content(map=content, offset=0, size=content.size))
    offset, length = part
    headers["Content-Range"] = f"bytes {offset}-{offset + length - 1}/{content.size}"
    return Response(status=206, headers=headers, body=Content(map=content, offset=offset, size=length))


async def delete(call: Call) -> Response:
    """Unlink a blob from this repository. Its content stays: other repositories, or whoever shares the store, may need
    it, and only a look at all of them can tell."""
    call.context.require_deletable()
    digest = Digest.parse(call.rest)
    if not await asyncio.to_thread(_unlink, call.repository, digest):
        raise DistributionError("BLOB_UNKNOWN", f"{digest} is not in {call.name}")
    return Response(status=202)


def _unlink(repository: Repository, digest: Digest) -> bool:
    with repository.changing():
        return repository.unlink_blob(digest)
