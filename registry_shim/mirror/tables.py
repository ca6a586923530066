"""Chunk tables for the layers of model images, from their model index, which is fetched as soon as one passes by."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Future
from functools import partial
from typing import Final

from modelcar.cache.indexes import Indexed, Indexes
from modelcar.cache.origin import Origin
from modelcar.errors import ModelcarError
from modelcar.layers.outline import LARGEST
from modelcar.lazy.grid import Grid
from modelcar.oci import Descriptor, Digest
from registry_shim.mirror.images import Part
from registry_shim.mirror.pool import Pool

__all__ = ["Tables"]

_THREADS: Final = 2
_log = logging.getLogger("registry_shim.mirror")


class Tables:
    """Safe to share between threads. Close it."""

    def __init__(self, indexes: Indexes, patience: float) -> None:
        """`patience`: seconds that a blob waits for the index that describes it."""
        self.indexes = indexes
        self._patience = patience
        self._threads = Pool(_THREADS, "index")
        self._lies: set[tuple[Digest, Digest]] = set()

    def begin(self, origin: Origin, index: Descriptor) -> Future[Indexed] | None:
        """Fetch an index layer and read it, unless that has been done; `None` if it is too large."""
        if index.size > LARGEST:
            return None
        reading, is_new = self.indexes.begin(origin, index)
        if is_new:
            reading.future.add_done_callback(partial(_tell, origin, index))
            self._threads.submit(reading.run)
        return reading.future

    async def grid(self, origin: Origin, part: Part) -> Grid | None:
        """How a blob is cut; `None` where nothing says so, or not in time."""
        future = self.begin(origin, part.index) if part.index is not None else None
        if future is None or part.index is None:
            return None
        if not future.done():
            waiting = asyncio.wrap_future(future)
            waiting.add_done_callback(lambda done: done.cancelled() or done.exception())  # looked at
            await asyncio.wait([waiting], timeout=self._patience)
        if not future.done() or future.exception() is not None:
            return None
        grid = future.result().grids.get(part.descriptor.digest)
        if grid is None or grid.size != part.descriptor.size:
            return None
        return None if (part.index.digest, grid.digest) in self._lies else grid

    def distrust(self, part: Part, error: ModelcarError) -> None:
        """The index says of this blob what its bytes are not: from now on the blob is cut without it."""
        if part.index is not None:
            _log.warning("the model index %s is wrong about %s: %s", part.index.digest, part.descriptor.digest, error)
            self._lies.add((part.index.digest, part.descriptor.digest))

    def close(self) -> None:
        self._threads.close()


def _tell(origin: Origin, index: Descriptor, done: Future[Indexed]) -> None:
    if (error := done.exception()) is not None:
        _log.warning("%s: the model index %s cannot be read: %s", origin, index.digest, error)
    elif problem := done.result().problem:
        _log.warning("%s: the model index %s is none: %s", origin, index.digest, problem)
