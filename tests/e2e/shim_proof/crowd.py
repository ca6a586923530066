"""Many clients at once, each with a wish of its own."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from tests.e2e.shim_proof.clients import Download, blob_path, download
from tests.e2e.shim_proof.library import Blob

__all__ = ["crowd", "wishes"]


def wishes(repository: str, blob: Blob, clients: int, seed: int) -> list[Download]:
    """Half want all of it, a quarter leave in the middle, a quarter want some range."""
    source, path = random.Random(seed), blob_path(repository, blob.digest)
    wants = []
    for number in range(clients):
        if number % 4 == 2:
            wants.append(Download(path=path, blob=blob, leave_after=source.randrange(1, blob.size)))
        elif number % 4 == 3:
            first, last = sorted(source.sample(range(blob.size), 2))
            wants.append(Download(path=path, blob=blob, offset=first, end=last + 1))
        else:
            wants.append(Download(path=path, blob=blob))
    return wants


def crowd(
    address: str, wants: Sequence[Download], *, meanwhile: Callable[[], None] | None = None, within: float = 120.0
) -> int:
    """All of them at once, while `meanwhile` goes on; returns their attempts. The first `Defect` is raised."""
    with ThreadPoolExecutor(len(wants)) as pool:
        running: list[Future[int]] = [pool.submit(download, address, want, within=within) for want in wants]
        if meanwhile is not None:
            meanwhile()
        return sum(future.result() for future in running)
