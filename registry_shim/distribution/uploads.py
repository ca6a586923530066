"""Pushing blobs: in one request, in two, in chunks, or by mounting what another repository has."""

from __future__ import annotations

import asyncio
import re

from modelcar.errors import StorageError
from modelcar.oci import Digest
from modelcar.serving.messages import Request, Response
from modelcar.serving.threads import in_thread
from registry_shim.distribution.context import Call, Context
from registry_shim.distribution.errors import DistributionError
from registry_shim.distribution.sessions import Session

__all__ = ["append", "cancel", "finish", "start", "status"]

_CHUNK_MIN_LENGTH = 1 << 16  # smaller ones are taken as well, but cost more than they move
_CONTENT_RANGE = re.compile(r"(\d{1,19})-(\d{1,19})", re.ASCII)


async def start(call: Call) -> Response:
    """POST: mount a blob (`mount`, `from`), take it whole (`digest`), or open a session.

    A mount needs `from`: a digest alone must not reveal what other repositories hold.
    """
    call.context.require_writable()
    if (mount := call.request.parameter("mount")) is not None:
        digest = Digest.parse(mount)
        if await asyncio.to_thread(_mount, call, digest):
            return _created(call.name, digest)
    if (wanted := call.request.parameter("digest")) is not None:
        digest = Digest.parse(wanted)
        session = call.context.sessions.open(call.name)
        async with session.lock:
            return await _complete(call, session, digest, keep=False)
    return _accepted(call.context.sessions.open(call.name), 202, {"OCI-Chunk-Min-Length": str(_CHUNK_MIN_LENGTH)})


async def status(call: Call) -> Response:
    """GET: how far the upload is."""
    return _accepted(call.context.sessions.find(call.name, call.rest), 204)


async def append(call: Call) -> Response:
    """PATCH: the next chunk."""
    call.context.require_writable()
    async with call.context.sessions.using(call.name, call.rest) as session:
        _check_order(call.request, session)
        await _receive(call, session, None)
        return _accepted(session, 202)


async def finish(call: Call) -> Response:
    """PUT: the last chunk, if any, and the digest of the whole."""
    call.context.require_writable()
    wanted = call.request.parameter("digest")
    if wanted is None:
        raise DistributionError("DIGEST_INVALID", "the parameter digest is missing")
    digest = Digest.parse(wanted)
    async with call.context.sessions.using(call.name, call.rest) as session:
        _check_order(call.request, session)
        return await _complete(call, session, digest, keep=True)


async def cancel(call: Call) -> Response:
    """DELETE: forget the upload."""
    call.context.require_writable()
    async with call.context.sessions.using(call.name, call.rest) as session:
        await call.context.sessions.discard(session)
    return Response(status=204)


def _mount(call: Call, digest: Digest) -> bool:
    source = call.request.parameter("from")
    try:
        found = source is not None and call.has_blob(digest, call.context.repositories[source])
    except ValueError:  # not a repository name: the specification wants a session then, not an error
        return False
    if found:
        call.repository.link_blob(digest)
    return found


async def _receive(call: Call, session: Session, expected: Digest | None) -> None:
    try:
        await session.receive(call.request.body, expected)
    except StorageError:
        await call.context.sessions.discard(session)
        raise


async def _complete(call: Call, session: Session, digest: Digest, *, keep: bool) -> Response:
    """Receive the rest, check, publish and link it. `keep` leaves the session open to a client that was cut off."""
    received = False
    try:
        await _receive(call, session, digest)
        received = True
        await in_thread(_publish, call.context, session, digest)
    finally:
        if received or not keep:
            await call.context.sessions.discard(session)
    return _created(session.repository, digest)


def _publish(context: Context, session: Session, digest: Digest) -> None:
    session.commit(digest)
    context.repositories[session.repository].link_blob(digest)


def _check_order(request: Request, session: Session) -> None:
    """A chunk that says where it belongs must belong at the end."""
    header = request.headers.get("content-range")
    if header is None:
        return
    match = _CONTENT_RANGE.fullmatch(header.strip().removeprefix("bytes ").partition("/")[0])
    if match is None:
        raise DistributionError("BLOB_UPLOAD_INVALID", "Content-Range does not look like 0-1023")
    first, last = map(int, match.groups())
    if first != session.size:
        message = f"the next byte is {session.size}, not {first}"
        raise DistributionError("BLOB_UPLOAD_INVALID", message, status=416, headers=_position(session))
    if request.body.length is not None and request.body.length != last + 1 - first:
        raise DistributionError("SIZE_INVALID", "Content-Range and Content-Length disagree")


def _position(session: Session) -> dict[str, str]:
    return {
        "Location": f"/v2/{session.repository}/blobs/uploads/{session.id}",
        "Range": f"0-{max(session.size - 1, 0)}",
        "Docker-Upload-UUID": session.id,
    }


def _accepted(session: Session, code: int, headers: dict[str, str] | None = None) -> Response:
    return Response(status=code, headers={**_position(session), **(headers or {})})


def _created(name: str, digest: Digest) -> Response:
    return Response(
        status=201,
        headers={"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": str(digest)},
    )
