"""How kopf speaks to the API server: as it would by itself, but for a line in the log for each request."""

from __future__ import annotations

import logging
from typing import Any

import aiohttp
import kopf

from modelcar.exchanges import Exchange

__all__ = ["session"]

_log = logging.getLogger(__name__)


def session(info: kopf.ConnectionInfo) -> kopf.AiohttpSession:
    """What kopf would make of `info`, but for a line in the log for each request. Must be called in the loop's thread;
    kopf closes it."""
    connector = aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context())
    made = aiohttp.ClientSession(connector=connector, headers=info.as_http_headers(), trace_configs=[_told()])
    return kopf.AiohttpSession(server=info.server, expiration=info.expiration, aiohttp_session=made)


def _told() -> aiohttp.TraceConfig:
    async def begin(_: aiohttp.ClientSession, context: Any, asked: aiohttp.TraceRequestStartParams) -> None:
        context.exchange = Exchange(_log, asked.method, str(asked.url))

    async def end(_: aiohttp.ClientSession, context: Any, answer: aiohttp.TraceRequestEndParams) -> None:
        context.exchange.status = answer.response.status
        context.exchange.over()

    async def broken(_: aiohttp.ClientSession, context: Any, error: aiohttp.TraceRequestExceptionParams) -> None:
        context.exchange.broken(type(error.exception).__name__)

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(begin)
    trace.on_request_end.append(end)
    trace.on_request_exception.append(broken)
    return trace
