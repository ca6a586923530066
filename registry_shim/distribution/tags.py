"""Lists of names: a repository's tags, and the repositories."""

from __future__ import annotations

import asyncio
import re
from bisect import bisect_right
from urllib.parse import urlencode

from modelcar.oci import compact_json
from modelcar.serving.messages import Request, Response
from registry_shim.distribution.context import Call
from registry_shim.distribution.errors import DistributionError

__all__ = ["catalog", "list_tags", "next_link", "tag_list"]

_COUNT = re.compile(r"[0-9]{1,18}")


async def list_tags(call: Call) -> Response:
    repository = call.repository
    if not repository.exists():
        raise DistributionError("NAME_UNKNOWN", f"there is no repository {call.name}")
    names = await asyncio.to_thread(repository.tags)
    return tag_list(call.request, call.name, names)


async def catalog(call: Call) -> Response:
    """Not in the specification; Docker's registry has it and tools use it."""
    names = await asyncio.to_thread(call.context.repositories.names)
    page, headers = _page(call.request, names)
    return Response(status=200, headers=headers, body=compact_json({"repositories": page}))


def tag_list(request: Request, name: str, tags: list[str]) -> Response:
    """The page of a repository's tags that is asked for."""
    page, headers = _page(request, tags)
    return Response(status=200, headers=headers, body=compact_json({"name": name, "tags": page}))


def _page(request: Request, names: list[str]) -> tuple[list[str], dict[str, str]]:
    """Up to `n` of the `names` that come after `last`, and a link to the next page if there is one."""
    headers = {"Content-Type": "application/json"}
    names = sorted(names, key=_order)
    last = request.parameter("last")
    rest = names[bisect_right(names, _order(last), key=_order) :] if last else names
    n = request.parameter("n")
    if n is None:
        return rest, headers
    if not _COUNT.fullmatch(n):
        raise DistributionError("UNSUPPORTED", "the parameter n is not a number", status=400)
    page = rest[: int(n)]
    if page and len(page) < len(rest):
        headers["Link"] = next_link(request, n=n, last=page[-1])
    return page, headers


def next_link(request: Request, **query: str) -> str:
    """The header that leads to the page with this query, of the same registry."""
    if namespace := request.parameter("ns"):
        query["ns"] = namespace
    return f'<{request.path}?{urlencode(query)}>; rel="next"'


def _order(name: str) -> tuple[str, str]:
    """The specification's, which ignores case; the name itself then keeps pages stable."""
    return name.lower(), name
