"""A node as the others see it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from modelcar.errors import UsageError

__all__ = ["Member", "parse_members"]

_PORT: Final = 5443


@dataclass(frozen=True, slots=True, order=True)
class Member:
    """Where a node's peer API listens. `zone` is where traffic is cheap: an availability zone, a rack; `""` if unknown.

    Two nodes that see the same member under different addresses disagree about homes, so everyone uses one form of
    address: that of the membership's source.
    """

    host: str
    port: int
    zone: str = ""

    @property
    def name(self) -> str:
        """`host:port`: what is hashed, logged and sent."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Member:
        """`HOST`, `HOST:PORT` or either with `=ZONE`. Raises `UsageError`."""
        if "@" in text:  # never shown: it may be a password
            raise UsageError("the address of a peer takes no credentials", hint="it looks like 10.0.0.7:5443")
        address, _, zone = text.strip().partition("=")
        host, port = address, str(_PORT)
        if address.count(":") == 1 or "]:" in address:
            host, _, port = address.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not host or any(c.isspace() or c in "/,@" for c in address) or not _is_port(port):
            raise UsageError(f"{text!r} is not a peer", hint="it looks like 10.0.0.7:5443 or 10.0.0.7:5443=zone-a")
        return cls(host.lower(), int(port), zone)


def parse_members(texts: Iterable[str]) -> frozenset[Member]:
    """Raises `UsageError` for what is no peer, and for one that is named with two zones."""
    members = frozenset(Member.parse(text) for text in texts)
    if len({m.name for m in members}) != len(members):
        raise UsageError("a peer is listed twice, in different zones")
    return members


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text[:6]) < 65536
