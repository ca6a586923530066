"""Our own programs: the least that a transfer can cost."""

from __future__ import annotations

from pathlib import Path

from tests.bench.measure import Measurement
from tests.bench.race import Run
from tests.bench.servers import Server
from tests.bench.tools.openssl import digests

__all__ = ["fetch", "push"]


def push(run: Run, server: Server) -> Measurement:
    """A bare sendfile loop, a connection a shard; the shards' digests are known beforehand."""
    blobs = [f"{digest}={path}" for path, digest in digests(run).items()]
    return run.program("bare_push", server.address, "bench/bare", *blobs, server=server)


def fetch(run: Run, server: Server, path: str, file: Path, clients: int) -> Measurement:
    """`clients` downloads of one file at the same time."""
    run.warm(file)
    return run.program("fetch", server.address, path, str(file.stat().st_size), str(clients), server=server)
