"""Leases: joining, streaming, committing, resuming, removing, revoking."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import pytest

from modelcar.layers.hashing import CHUNK_SIZE
from registry_shim.cache.cache import Cache
from registry_shim.cache.lease import Lease
from tests.support.chunks import Content, MemorySource

from .conftest import ORIGIN

TIMEOUT = 20


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.005)


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


@pytest.mark.parametrize("table", [False, True])
def test_a_pull_streams_commits_and_hits(cache: Cache, content: Content, source: MemorySource, table: bool) -> None:
    grid = content.table() if table else None
    assert not cache.contains(content.digest)
    with cache.lease(ORIGIN, content.descriptor, grid=grid) as lease:
        assert read(lease) == content.data
        until(lambda: cache.contains(content.digest))
        assert read(lease, 5, 100) == content.data[5:105]
    assert source.sent == len(content.data)
    with cache.lease(ORIGIN, content.descriptor) as lease:
        assert read(lease) == content.data
    assert source.sent == len(content.data)
    assert cache.layout.path(content.digest).read_bytes() == content.data
    assert not list((cache.layout.root / "partial").glob("*/*/*"))
    assert cache.leased() == set()


def test_every_chunk_is_fetched_once_however_many_read(cache: Cache, content: Content, source: MemorySource) -> None:
    results: list[bytes] = []

    def reader(start: int) -> None:
        with cache.lease(ORIGIN, content.descriptor) as lease:
            results.append(read(lease, start) + content.data[:0])

    threads = [threading.Thread(target=reader, args=(n * 1_000_000,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(len, results)) == sorted(len(content.data) - n * 1_000_000 for n in range(16))
    assert all(content.data.endswith(r) for r in results)
    assert source.sent == len(content.data)
