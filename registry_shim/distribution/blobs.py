"""Blobs: pull whole or in part, and delete."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from modelcar.oci import Digest
from modelcar.serving.messages import Content, Request, Response
from registry_shim.distribution.context import Call
from registry_shim.distribution.errors import DistributionError
from registry_shim.distribution.ranges import Unsatisfiable, is_current, requested_range
from registry_shim.distribution.repositories import Repository

__all__ = ["Wanted", "delete", "get", "wanted_of"]


async def get(call: Call) -> Response:
    """A blob, from a repository that it was pushed to or mounted into."""
    digest = Digest.parse(call.rest)
    if not call.has_blob(digest):
        raise DistributionError("BLOB_UNKNOWN", f"{digest} is not in {call.name}")
    content = call.context.store.map(digest)
    wanted = wanted_of(call.request, digest, content.size)
    if wanted.status == 304:
        return Response(status=304, headers=wanted.headers)
    body = Content(map=content, offset=wanted.offset, size=wanted.size)
    return Response(status=wanted.status, headers=wanted.headers, body=body)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request wants of a blob, and how the answer to it begins."""

    status: int
    headers: dict[str, str]
    offset: int
    size: int


def wanted_of(request: Request, digest: Digest, size: int) -> Wanted:
    """What `request` wants of the blob `digest` of `size` bytes: all, a range, or nothing new (304).

    Raises:
        DistributionError: the range begins past the end (416).
    """
    etag = f'"{digest}"'
    headers = {
        "Content-Type": "application/octet-stream",
        "Docker-Content-Digest": str(digest),
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "max-age=31536000, immutable",
    }
    if is_current(request.headers, etag):
        return Wanted(304, headers, 0, 0)
    try:
        part = requested_range(request.headers, size, etag) if request.method == "GET" else None
    except Unsatisfiable:
        message = f"the blob has {size} bytes"
        unsatisfied = {"Content-Range": f"bytes */{size}"}
        raise DistributionError("SIZE_INVALID", message, status=416, headers=unsatisfied) from None
    if part is None:
        return Wanted(200, headers, 0, size)
    offset, length = part
    headers["Content-Range"] = f"bytes {offset}-{offset + length - 1}/{size}"
    return Wanted(206, headers, offset, length)


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
