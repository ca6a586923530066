"""Reading through leases."""

from __future__ import annotations

import os

from modelcar.cache.lease import Lease
from modelcar.layers.hashing import CHUNK_SIZE

__all__ = ["TIMEOUT", "read"]

TIMEOUT = 20


def read(lease: Lease, offset: int = 0, length: int | None = None) -> bytes:
    """As a handler does, but blocking."""
    length = lease.grid.size - offset if length is None else length
    data = bytearray()
    while len(data) < length:
        position = offset + len(data)
        lease.need(position, min(length - len(data), 8 * CHUNK_SIZE))
        n = min(lease.available(position), length - len(data))
        if not n:
            lease.when(position, 1).result(TIMEOUT)
            continue
        piece = lease.slice(position, n)
        data += os.pread(piece.fd, piece.size, piece.offset)
    return bytes(data)
