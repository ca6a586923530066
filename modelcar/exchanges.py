"""What the log says of requests over HTTP: a line for each, at the level of debugging.

Of a URL it says scheme, host and path: user names, passwords and queries, where signatures are, stay out. Headers and
bodies are never looked at.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

__all__ = ["Exchange", "of_our_own", "public_url", "tell_of_libraries", "told"]

_URLLIB3: Final = logging.getLogger("urllib3.connectionpool")  # requests, docker's library and sigstore's go by it, too
_ANSWERED: Final = '%s://%s:%s "%s %s %s" %s %s'
_BEGUN: Final = frozenset({"Starting new HTTP connection (%d): %s:%s", "Starting new HTTPS connection (%d): %s:%s"})


def public_url(url: str) -> str:
    """`url` without user, password, query and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "something that is no URL"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class Exchange:
    """One request and its answer, as they go on; `over` or `broken` writes the line, once.

    Attributes:
        status: the answer's, once there is one.
        sent, received: bytes of the two bodies so far.
    """

    __slots__ = ("_began", "_log", "_method", "_over", "_url", "received", "sent", "status")

    def __init__(self, log: logging.Logger, method: str, url: str) -> None:
        self._log, self._method, self._url = log, method, url
        self._began, self._over = time.monotonic(), False
        self.status: int | None = None
        self.sent = self.received = 0

    def over(self) -> None:
        """The answer was read, or is wanted no more."""
        self._tell("")

    def broken(self, reason: str) -> None:
        """There is no answer, or no more of it."""
        self._tell(f": {reason}")

    def _tell(self, how: str) -> None:
        if self._over or not self._log.isEnabledFor(logging.DEBUG):
            return
        self._over = True
        self._log.debug(
            "%s %s%s",
            self._method,
            public_url(self._url),
            how,
            extra={
                "status": self.status,
                "sent": self.sent or None,
                "bytes": self.received if self.status is not None else None,
                "seconds": round(time.monotonic() - self._began, 3),
            },
        )


@contextmanager
def told(log: logging.Logger, method: str, url: str) -> Iterator[Exchange]:
    """An exchange that the block is all of: what the block raises has broken it, and is named by its kind alone."""
    exchange = Exchange(log, method, url)
    try:
        yield exchange
    except Exception as e:
        exchange.broken(type(e).__name__)
        raise
    exchange.over()


class _Here(threading.local):
    ours = False


_here: Final = _Here()


@contextmanager
def of_our_own() -> Iterator[None]:
    """What urllib3 would log of requests that this thread makes in the block is told of by an `Exchange` already."""
    _here.ours, before = True, _here.ours
    try:
        yield
    finally:
        _here.ours = before


def tell_of_libraries(*, wanted: bool) -> None:
    """Whether the log says, at the level of debugging, of requests that libraries make by urllib3; as of our own, so
    without what may be secret."""
    if wanted:
        _URLLIB3.addFilter(_IN_OUR_WORDS)
        _URLLIB3.setLevel(logging.DEBUG)
    elif _IN_OUR_WORDS in _URLLIB3.filters:
        _URLLIB3.removeFilter(_IN_OUR_WORDS)
        _URLLIB3.setLevel(logging.NOTSET)


class _InOurWords(logging.Filter):
    """Of what urllib3 says for debugging it lets through connections and answers alone, and writes them anew."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno > logging.DEBUG:
            return True
        arguments = record.args
        if _here.ours or not isinstance(arguments, tuple):
            return False
        if record.msg in _BEGUN and len(arguments) == 3:
            record.msg, record.args = "connecting to %s:%s", arguments[1:]
            return True
        if record.msg != _ANSWERED or len(arguments) != 8:
            return False
        scheme, host, port, method, url, _, status, _ = arguments
        if "://" not in str(url):  # as it is where a proxy is asked
            where = f"[{host}]" if ":" in str(host).strip("[]") and not str(host).startswith("[") else host
            url = f"{scheme}://{where}{f':{port}' if port else ''}{url}"
        record.msg, record.args = "%s %s", (method, public_url(str(url)))
        vars(record).update(status=status)
        return True


_IN_OUR_WORDS: Final = _InOurWords()
