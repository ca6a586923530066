"""Small blobs, read whole."""

from __future__ import annotations

import os

from modelcar.errors import NotFound
from registry_shim.cache.lease import Lease

__all__ = ["arrival", "content"]


def arrival(lease: Lease, seconds: float) -> None:
    """Ask for all of a blob and wait until it is here. Raises what the lease fails with, or `TimeoutError`."""
    lease.need(0, lease.grid.size)
    lease.when(0, lease.grid.size).result(seconds)


def content(lease: Lease) -> bytes:
    """All of a blob that is here. Raises `NotFound`: it is cut short on disk."""
    size = lease.grid.size
    found = bytearray()
    while len(found) < size:
        piece = lease.slice(len(found), size - len(found))
        data = os.pread(piece.fd, piece.size, piece.offset)
        if not data:
            raise NotFound(f"{lease.grid.digest} is cut short on disk")
        found += data
    return bytes(found)
