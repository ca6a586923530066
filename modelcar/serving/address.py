"""Where to listen."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from modelcar.errors import UsageError, WorldError

__all__ = ["Address", "bound"]


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen, or where we do."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        if "@" in text:  # never shown: it may be a password
            raise UsageError("an address takes no credentials", hint="it looks like 127.0.0.1:5000")
        host, colon, port = text.rpartition(":")
        is_port = port.isascii() and port.isdigit() and len(port) <= 5 and int(port) < 65536
        if not colon or not host or "/" in host or not is_port:
            raise UsageError(
                f"{text!r} is not an address", hint="it looks like 127.0.0.1:5000; port 0 picks a free one"
            )
        return cls(host.removeprefix("[").removesuffix("]"), int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return ipaddress.ip_address(self.host.partition("%")[0]).is_loopback

    def resolved(self) -> Address:
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except (OSError, UnicodeError) as e:  # the latter for names that no host can have
            reason = e.strerror if isinstance(e, OSError) else "that is no host name"
            raise WorldError(f"cannot listen on {self}: {reason}") from None
        found.sort(key=lambda entry: entry[0] != socket.AF_INET)  # localhost is 127.0.0.1 to most clients
        return Address(str(found[0][4][0]), self.port)


@contextmanager
def bound(address: Address) -> Iterator[socket.socket]:
    """A listening socket. Raises `WorldError` where that is not possible."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        listener = socket.create_server((address.host, address.port), family=family, backlog=1024)
    except OSError as e:
        reason = "the port is in use" if e.errno == errno.EADDRINUSE else e.strerror
        raise WorldError(f"cannot listen on {address}: {reason}", hint="--listen HOST:0 picks a free port") from None
    with listener:
        yield listener
