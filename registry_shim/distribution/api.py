"""From a request to its handler and back: the endpoints of the specification (end-1 to end-13) and `_catalog`."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace

from modelcar.oci.reference import is_repository
from modelcar.serving.messages import ClientGone, Request, Response
from registry_shim.distribution import blobs, manifests, referrers, tags, uploads
from registry_shim.distribution.context import Call, Context, Settings
from registry_shim.distribution.errors import DistributionError, answer

__all__ = ["Distribution", "Settings"]

Handler = Callable[[Call], Awaitable[Response]]


async def _base(_: Call) -> Response:
    return Response(status=200, headers={"Content-Type": "application/json"}, body=b"{}")


# In this order: the last endpoint word in a path decides, because `blobs` and `tags` are names of repositories too.
_ROUTES: tuple[tuple[re.Pattern[str], dict[str, Handler]], ...] = tuple(
    (re.compile(pattern), {**handlers, **({"HEAD": handlers["GET"]} if "GET" in handlers else {})})
    for pattern, handlers in (
        (r"/v2/?()()", {"GET": _base}),
        (r"/v2/()_catalog()", {"GET": tags.catalog}),
        (r"/v2/(.+)/tags/list()", {"GET": tags.list_tags}),
        (r"/v2/(.+)/blobs/uploads/?()", {"POST": uploads.start}),
        (
            r"/v2/(.+)/blobs/uploads/([^/]+)",
            {"GET": uploads.status, "PATCH": uploads.append, "PUT": uploads.finish, "DELETE": uploads.cancel},
        ),
        (r"/v2/(.+)/blobs/([^/]+)", {"GET": blobs.get, "DELETE": blobs.delete}),
        (r"/v2/(.+)/manifests/([^/]+)", {"GET": manifests.get, "PUT": manifests.put, "DELETE": manifests.delete}),
        (r"/v2/(.+)/referrers/([^/]+)", {"GET": referrers.list_referrers}),
    )
)


class Distribution:
    """The API over one content store and one set of repositories."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def handle(self, request: Request) -> Response:
        """Answer `request`; the only exception that leaves is `ClientGone`."""
        try:
            response = await self._dispatch(request)
        except ClientGone:
            raise
        except Exception as e:  # the boundary: whatever it is, the client gets the specification's JSON
            response = answer(e, request)
        return replace(response, headers={"Docker-Distribution-Api-Version": "registry/2.0", **response.headers})

    async def _dispatch(self, request: Request) -> Response:
        for pattern, handlers in _ROUTES:
            match = pattern.fullmatch(request.path)
            if match is None:
                continue
            name, rest = match.groups()
            handler = handlers.get(request.method)
            if handler is None:
                allowed = ", ".join(sorted(handlers))
                message = f"{request.method} is not a method of this endpoint"
                raise DistributionError("UNSUPPORTED", message, headers={"Allow": allowed})
            if name and not is_repository(name):
                raise DistributionError("NAME_INVALID", "that is not a repository name")
            return await handler(Call(self._context, request, name, rest))
        raise DistributionError("UNSUPPORTED", "no such endpoint", status=404)
