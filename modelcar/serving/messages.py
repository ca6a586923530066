"""What goes between HTTP and the distribution API: plain values, so that every handler runs without a socket."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from modelcar.layers.bytemap import ByteMap, FileSlice

__all__ = ["Body", "BytesBody", "ClientGone", "Content", "Request", "Response", "Stream"]


class ClientGone(Exception):
    """The client hung up, or stopped sending, before its request was complete."""


class Body(Protocol):
    """A request's body on its way in."""

    length: int | None
    """What Content-Length promised; `None` if the body is chunked."""

    def batches(self, size: int) -> AsyncIterator[Sequence[bytes]]:
        """The body in order, in batches of at least `size` bytes except for the last. Raises `ClientGone`."""


class BytesBody:
    """A body in memory."""

    def __init__(self, content: bytes = b"") -> None:
        self.length: int | None = len(content)
        self._content = content

    async def batches(self, size: int) -> AsyncIterator[Sequence[bytes]]:
        for offset in range(0, len(self._content), size):
            yield [self._content[offset : offset + size]]


@dataclass(frozen=True, kw_only=True)
class Request:
    """`path` is percent-decoded; header names are lower-case; a query parameter's values are in their order.

    A header that came several times is joined by commas. `client` is the address that the request came from, and
    `subject` whom its certificate, password or token names.
    """

    method: str
    path: str
    query: Mapping[str, Sequence[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body = field(default_factory=BytesBody)
    client: str = ""
    subject: str | None = None

    def parameter(self, name: str) -> str | None:
        """The first value of a query parameter."""
        values = self.query.get(name)
        return values[0] if values else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A range of a stored blob, for the kernel to send."""

    map: ByteMap
    offset: int
    size: int


class Stream(Protocol):
    """A body of known size whose bytes arrive while it is sent."""

    @property
    def size(self) -> int: ...

    def pieces(self) -> AsyncGenerator[bytes | FileSlice, None]:
        """In order. The status is sent with the first piece, so what fails before is still answered properly; what
        fails later cuts the connection short of the promised length. Closed (`aclose`) when the client leaves."""


@dataclass(frozen=True, kw_only=True)
class Response:
    """An answer. For HEAD the transport leaves the body out and keeps its length.

    `notes` go to the access log and the metrics, read when the body has been sent: `cache` says `hit`, `miss` or
    `stale`; `repository` and `digest` what it is about; `upstream`, `peer`, `mirror` how many bytes came from there.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Content | Stream = b""
    notes: Mapping[str, str | int] = field(default_factory=dict)

    @property
    def length(self) -> int:
        return len(self.body) if isinstance(self.body, bytes) else self.body.size
