"""Manifests by tag or digest: pull, push, delete."""

from __future__ import annotations

import asyncio

from modelcar.oci import Digest
from modelcar.oci.document import MAX_DOCUMENT
from modelcar.oci.reference import is_tag
from modelcar.serving.messages import Body, Content, Response
from modelcar.store.base import write_document
from registry_shim.distribution.context import Call
from registry_shim.distribution.documents import Document, read_manifest
from registry_shim.distribution.errors import DistributionError
from registry_shim.distribution.ranges import is_current
from registry_shim.distribution.repositories import ManifestLink, Repository

__all__ = ["delete", "get", "put"]


async def get(call: Call) -> Response:
    """The manifest's bytes under the media type that it was pushed with; `Accept` is not negotiated."""
    repository = call.repository
    link = _find(repository, call.rest)
    if link is None or link.descriptor.digest not in call.context.store:
        raise _unknown(repository, call.name, call.rest)
    digest = link.descriptor.digest
    etag = f'"{digest}"'
    headers = {
        "Content-Type": link.descriptor.media_type,
        "Docker-Content-Digest": str(digest),
        "ETag": etag,
    }
    if is_current(call.request.headers, etag):
        return Response(status=304, headers=headers)
    content = call.context.store.map(digest)
    return Response(status=200, headers=headers, body=Content(map=content, offset=0, size=content.size))


async def put(call: Call) -> Response:
    """Take a manifest whose blobs are all here, and then point tags at it.

    By digest it may get tags as well (`?tag=`, any number), by tag its digest may be given (`?digest=`).
    """
    call.context.require_writable()
    tags = list(call.request.query.get("tag", ()))
    wanted = call.rest if ":" in call.rest else call.request.parameter("digest")
    promised = Digest.parse(wanted) if wanted else None
    if ":" not in call.rest:
        tags.append(call.rest)
    for tag in tags:
        if not is_tag(tag):
            raise DistributionError("MANIFEST_INVALID", f"{tag!r} is not a tag")
    content = await _read(call.request.body)
    link = await asyncio.to_thread(_publish, call, content, promised, tags)
    digest = link.descriptor.digest
    headers = {"Location": f"/v2/{call.name}/manifests/{call.rest}", "Docker-Content-Digest": str(digest)}
    if link.subject is not None:
        headers["OCI-Subject"] = str(link.subject)
    if ":" in call.rest and tags:
        headers["OCI-Tag"] = ", ".join(tags)
    return Response(status=201, headers=headers)


async def delete(call: Call) -> Response:
    """By tag only the tag goes; by digest the manifest and all its tags do."""
    call.context.require_deletable()
    repository = call.repository
    if not await asyncio.to_thread(_delete, repository, call.rest):
        raise _unknown(repository, call.name, call.rest)
    return Response(status=202)


def _find(repository: Repository, reference: str) -> ManifestLink | None:
    digest = Digest.parse(reference) if ":" in reference else None
    if digest is None and is_tag(reference):
        digest = repository.resolve(reference)
    return repository.manifest(digest) if digest else None


def _unknown(repository: Repository, name: str, reference: str) -> DistributionError:
    if not repository.exists():
        return DistributionError("NAME_UNKNOWN", f"there is no repository {name}")
    return DistributionError("MANIFEST_UNKNOWN", f"{reference} is not in {name}")


async def _read(body: Body) -> bytes:
    too_large = DistributionError("MANIFEST_INVALID", f"a manifest has at most {MAX_DOCUMENT} bytes", status=413)
    if (body.length or 0) > MAX_DOCUMENT:
        raise too_large
    content = bytearray()
    async for batch in body.batches(1 << 16):
        content += b"".join(batch)
        if len(content) > MAX_DOCUMENT:
            raise too_large
    if not content:
        raise DistributionError("MANIFEST_INVALID", "the manifest is empty")
    return bytes(content)


def _publish(call: Call, content: bytes, promised: Digest | None, tags: list[str]) -> ManifestLink:
    """In a thread from the start: 4 MiB of JSON would keep the event loop for a second."""
    digest = promised or Digest.of(content)
    digest.check(content, "the manifest")
    document = read_manifest(content, call.request.headers.get("content-type", ""), digest)
    repository = call.repository
    with repository.changing():
        _check_complete(call, document)
        write_document(call.context.store, content, digest)
        repository.add_manifest(document.link)
        for tag in tags:
            repository.set_tag(tag, digest)
    return document.link


def _check_complete(call: Call, document: Document) -> None:
    missing = [d for d in document.blobs if not call.has_blob(d)]
    # An index may list blobs as well: build caches do.
    missing += [d for d in document.manifests if not call.has_manifest(d) and not call.has_blob(d)]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DistributionError("MANIFEST_BLOB_UNKNOWN", f"push {missing[0]}{more} to this repository first")


def _delete(repository: Repository, reference: str) -> bool:
    with repository.changing():
        if ":" in reference:
            return repository.remove_manifest(Digest.parse(reference))
        return is_tag(reference) and repository.remove_tag(reference)
