"""Ranges of large files over HTTP, each byte copied once: from the socket into a buffer, and from there to its place.

Clients that hand out a body in small parts copy every byte several times, which costs a multiple of this. Lists of
files come this way, too: what the library's own client imports takes longer than the answers.
What is out of the ordinary (proxies, redirects, refusals, broken connections) is not dealt with here: whoever asked
goes on by way of the library that knows.
"""

from __future__ import annotations

import http.client
import logging
import ssl
import threading
import weakref
from collections.abc import Callable, Mapping
from email.message import Message
from typing import Final
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

from modelcar.exchanges import Exchange

__all__ = ["Ranges", "Write"]

Write = Callable[[int, memoryview], None]
"""`write(offset, data)`: puts bytes to their place; `data` is not valid after it returns."""

_BUFFER: Final = 256 << 10  # bytes; stays in a core's cache between the two copies
_IDLE: Final = 16  # connections that are kept
_LONGEST_DOCUMENT: Final = 64 << 20  # bytes
_Connections = dict[tuple[str, str], list[http.client.HTTPConnection]]
_local = threading.local()
_log = logging.getLogger(__name__)


class Ranges:
    """Connections to servers of files. Safe to share between threads.

    Args:
        timeout: seconds for which nothing moves.
        context: makes what TLS connections go by, when the first one is opened.
    """

    def __init__(self, timeout: float, context: Callable[[], ssl.SSLContext]) -> None:
        self._timeout, self._make_context = timeout, context
        self._context: ssl.SSLContext | None = None
        self._lock = threading.Lock()
        self._idle: _Connections = {}
        weakref.finalize(self, _close, self._idle)

    def get(self, url: str, headers: Mapping[str, str], start: int, stop: int, total: int, write: Write) -> int:
        """Write the bytes `[start, stop)` of what `url` names, `total` bytes in all, to their places.

        Returns how many of them came: all, or fewer where something was not as it should be. What `write` raises
        is raised.
        """
        parts = urlsplit(url)
        if not _is_direct(parts):
            return 0
        exchange = Exchange(_log, "GET", url)
        try:
            answer, connection = self._ask(parts, {**headers, "Range": f"bytes={start}-{stop - 1}"})
        except (OSError, http.client.HTTPException) as e:
            exchange.broken(f"no answer ({type(e).__name__})")
            return 0
        exchange.status, came = answer.status, 0
        try:
            if _is_what_was_asked(answer, start, stop, total):
                came = _receive(answer, start, stop, write)
        finally:
            if came == stop - start and not answer.will_close:
                self._keep(parts, connection)
            else:
                connection.close()
            exchange.received = came
            exchange.over()
        return came

    def document(self, url: str, headers: Mapping[str, str]) -> tuple[bytes, Message] | None:
        """All that `url` names, and the answer's headers; `None` where something was not as it should be."""
        parts = urlsplit(url)
        if not _is_direct(parts):
            return None
        exchange = Exchange(_log, "GET", url)
        try:
            answer, connection = self._ask(parts, headers)
        except (OSError, http.client.HTTPException) as e:
            exchange.broken(f"no answer ({type(e).__name__})")
            return None
        exchange.status = answer.status
        body: bytes | None = None
        try:
            if answer.status == http.HTTPStatus.OK and _is_plain(answer):
                body = answer.read(_LONGEST_DOCUMENT + 1)
                if len(body) > _LONGEST_DOCUMENT or answer.length:  # too long, or cut
                    body = None
        except (OSError, http.client.HTTPException):
            body = None
        finally:
            if body is not None and answer.isclosed() and not answer.will_close:
                self._keep(parts, connection)
            else:
                connection.close()
            exchange.received = len(body or b"")
            exchange.over()
        return None if body is None else (body, answer.headers)

    def close(self) -> None:
        """Hang up what is idle."""
        with self._lock:
            _close(self._idle)

    def _ask(
        self, parts: SplitResult, headers: Mapping[str, str]
    ) -> tuple[http.client.HTTPResponse, http.client.HTTPConnection]:
        """One that was idle may have been closed by the server meanwhile: then once more by a new one."""
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        idle = self._take(parts)
        if idle is not None:
            try:
                return _sent(idle, target, headers), idle
            except (OSError, http.client.HTTPException):
                idle.close()
        connection = self._open(parts)
        try:
            return _sent(connection, target, headers), connection
        except BaseException:
            connection.close()
            raise

    def _open(self, parts: SplitResult) -> http.client.HTTPConnection:
        host = parts.netloc.rpartition("@")[2]
        if parts.scheme == "http":
            return http.client.HTTPConnection(host, timeout=self._timeout)
        with self._lock:
            if self._context is None:
                self._context = self._make_context()
        return http.client.HTTPSConnection(host, timeout=self._timeout, context=self._context)

    def _take(self, parts: SplitResult) -> http.client.HTTPConnection | None:
        with self._lock:
            connections = self._idle.get((parts.scheme, parts.netloc))
            return connections.pop() if connections else None

    def _keep(self, parts: SplitResult, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            connections = self._idle.setdefault((parts.scheme, parts.netloc), [])
            if len(connections) < _IDLE:
                connections.append(connection)
                return
        connection.close()


def _is_direct(parts: SplitResult) -> bool:
    """Whether the environment names no proxy for it."""
    proxies = getproxies()
    if parts.scheme not in proxies and "all" not in proxies:
        return parts.scheme in ("http", "https")
    return bool(parts.hostname and proxy_bypass(parts.hostname))


def _sent(connection: http.client.HTTPConnection, target: str, headers: Mapping[str, str]) -> http.client.HTTPResponse:
    connection.request("GET", target, headers={"Accept-Encoding": "identity", **headers})
    return connection.getresponse()


def _is_what_was_asked(answer: http.client.HTTPResponse, start: int, stop: int, total: int) -> bool:
    return (
        answer.status == http.HTTPStatus.PARTIAL_CONTENT
        and answer.length == stop - start
        and answer.headers.get("Content-Range") == f"bytes {start}-{stop - 1}/{total}"
        and _is_plain(answer)
    )


def _is_plain(answer: http.client.HTTPResponse) -> bool:
    return answer.headers.get("Content-Encoding", "identity") == "identity"


def _receive(answer: http.client.HTTPResponse, start: int, stop: int, write: Write) -> int:
    buffer, offset = _buffer(), start
    while offset < stop:
        try:
            n = answer.readinto(buffer[: stop - offset])
        except (OSError, http.client.HTTPException):
            break
        if not n:
            break
        write(offset, buffer[:n])
        offset += n
    if offset == stop:
        answer.close()
    return offset - start


def _buffer() -> memoryview:
    """One a thread."""
    buffer: memoryview | None = getattr(_local, "buffer", None)
    if buffer is None:
        buffer = _local.buffer = memoryview(bytearray(_BUFFER))
    return buffer


def _close(idle: _Connections) -> None:
    while idle:
        for connection in idle.popitem()[1]:
            connection.close()
