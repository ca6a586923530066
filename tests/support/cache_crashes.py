"""`python -m tests.support.cache_crashes FOLDER`: kill a node's cache between any two steps of a pull.

For k = 0, 1, 2 … a child pulls a blob in `FOLDER/<k>` and is killed by SIGKILL just before its k-th call that changes
the disk, until one gets through. After each, the next process goes on: every byte must be right, and what the dead one
had verified must not be fetched again.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from modelcar.cache.cache import Cache
from modelcar.cache.origin import Origin
from modelcar.lazy.grid import Grid
from modelcar.lazy.partial import PartialBlob
from modelcar.lazy.scheduler import Scheduler
from modelcar.store.layout import OciLayout
from tests.support.chunks import Content, MemorySource, Reports

__all__ = ["CONTENT", "GRIDS", "die_at", "pull"]

CHANGES = ["open", "write", "pwrite", "ftruncate", "fsync", "fdatasync", "rename", "unlink", "rmdir", "mkdir"]
ORIGIN = Origin(registry="registry.example", repository="org/model")
CONTENT = Content(400_000)
GRIDS: list[Grid] = [CONTENT.plain, CONTENT.table(100_000, first=50_000)]


def pull(root: Path, grid: Grid) -> tuple[bytes, int]:
    """The blob through a cache at `root`, until it is in the store, and how many bytes were fetched."""
    source, scheduler = MemorySource(CONTENT.data), Scheduler()
    cache = Cache(root, OciLayout(root), scheduler, lambda *_: Reports(source))
    try:
        with cache.lease(ORIGIN, CONTENT.descriptor, grid=grid) as lease:
            lease.need(0, grid.size)
            lease.when(0, grid.size).result(20)
            piece = lease.slice(0, grid.size)
            data = os.pread(piece.fd, piece.size, piece.offset)
            while not cache.contains(CONTENT.digest):
                time.sleep(0.001)
    finally:
        cache.close()
        scheduler.close()
    return data, source.sent


def die_at(step: int) -> None:
    left = step
    lock = threading.Lock()

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **named: Any) -> Any:
            nonlocal left
            if call.__name__ != "open" or (len(args) > 1 and args[1] & os.O_CREAT):
                with lock:
                    if left == 0:
                        os.kill(os.getpid(), signal.SIGKILL)
                    left -= 1
            return call(*args, **named)

        return wrapper

    for name in CHANGES:
        setattr(os, name, counted(getattr(os, name)))


def _verified(root: Path, grid: Grid) -> int:
    """Bytes that the dead process had."""
    layout = root / "blobs" / "sha256" / CONTENT.digest.hex
    if layout.exists():
        return grid.size
    try:
        partial = PartialBlob.open(root / "partial" / "sha256" / CONTENT.digest.hex / grid.name)
    except Exception:
        return 0
    partial.close()
    return partial.present


def main(folder: Path) -> None:
    for grid in GRIDS:
        step = 0
        while True:
            root = folder / grid.name / str(step)
            root.mkdir(parents=True)
            child = os.fork()
            if child == 0:
                try:
                    die_at(step)
                    os._exit(0 if pull(root, grid)[0] == CONTENT.data else 2)
                except BaseException as e:
                    print(f"step {step}: {e!r}", file=sys.stderr)
                    os._exit(3)
            _, status = os.waitpid(child, 0)
            had = _verified(root, grid)
            data, fetched = pull(root, grid)
            assert data == CONTENT.data, f"{grid.name}, step {step}: wrong bytes"
            assert fetched == grid.size - had, f"{grid.name}, step {step}: {had} were here, {fetched} fetched"
            assert (root / "blobs" / "sha256" / CONTENT.digest.hex).read_bytes() == CONTENT.data
            assert not list((root / "partial").glob("*/*/*")), f"{grid.name}, step {step}: something is left"
            if not os.WIFSIGNALED(status):
                assert os.WEXITSTATUS(status) == 0
                break
            step += 1
        print(grid.name, step)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
