"""What the log says of requests over HTTP: a line for each, at the level of debugging.

Of a URL it says scheme, host and path: user names, passwords and queries, where signatures are, stay out. Headers and
bodies are never looked at.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

__all__ = ["Exchange", "public_url", "told"]


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
