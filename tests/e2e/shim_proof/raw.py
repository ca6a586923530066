"""Bytes on a socket, for what no HTTP library would send."""

from __future__ import annotations

import re
import socket
import time
from typing import Final

__all__ = ["connect", "exchange", "statuses"]

_ENOUGH: Final = 8 << 20


def connect(address: str, within: float = 10.0) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=within)


def exchange(address: str, data: bytes, *, within: float = 5.0, quiet: float = 1.0) -> bytes:
    """Send and take what comes back, until the end, `quiet` seconds of silence after an answer, or `within` seconds."""
    deadline, received = time.monotonic() + within, b""
    with connect(address) as sock:
        try:
            sock.sendall(data)
            while time.monotonic() < deadline and len(received) < _ENOUGH:
                sock.settimeout(quiet if received else max(0.1, deadline - time.monotonic()))
                more = sock.recv(1 << 16)
                if not more:
                    break
                received += more
        except OSError:
            pass
    return received


def statuses(received: bytes) -> list[int]:
    """Of the answers, in order."""
    return [int(status) for status in re.findall(rb"(?:^|\n|\})HTTP/1\.[01] (\d{3})", received)]
