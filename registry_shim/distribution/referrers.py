"""Referrers: the manifests of a repository that name another one as their subject."""

from __future__ import annotations

import asyncio

from modelcar.oci import Descriptor, Digest, compact_json
from modelcar.oci.document import MAX_DOCUMENT
from modelcar.oci.media_types import INDEX
from modelcar.serving.messages import Request, Response
from registry_shim.distribution.context import Call
from registry_shim.distribution.tags import next_link

__all__ = ["list_referrers", "referrers_list"]

_FRAME = 1024  # bytes for what stands around the list


async def list_referrers(call: Call) -> Response:
    """An index of them, empty if there are none; `artifactType` filters; pages hold as much as clients must accept."""
    subject = Digest.parse(call.rest)
    return referrers_list(call.request, await asyncio.to_thread(call.repository.referrers, subject))


def referrers_list(request: Request, found: list[Descriptor]) -> Response:
    """The page of `found` that is asked for."""
    headers = {"Content-Type": INDEX}
    query: dict[str, str] = {}
    if wanted := request.parameter("artifactType"):
        wanted = wanted.replace(" ", "+")  # a `+` that the client did not escape; media types hold no space
        found = [descriptor for descriptor in found if descriptor.artifact_type == wanted]
        headers["OCI-Filters-Applied"] = "artifactType"
        query["artifactType"] = wanted
    if last := request.parameter("last"):
        found = [descriptor for descriptor in found if str(descriptor.digest) > last]
    page = _page(found)
    if len(page) < len(found):
        query["last"] = str(page[-1].digest)
        headers["Link"] = next_link(request, **query)
    body = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor.to_dict() for descriptor in page]}
    return Response(status=200, headers=headers, body=compact_json(body))


def _page(found: list[Descriptor]) -> list[Descriptor]:
    room = MAX_DOCUMENT - _FRAME
    for i, descriptor in enumerate(found):
        room -= len(compact_json(descriptor.to_dict())) + 1
        if room < 0:
            return found[: max(i, 1)]
    return found
