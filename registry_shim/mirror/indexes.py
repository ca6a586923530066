"""Chunk tables for the layers of model images, from their model index, which is fetched as soon as one passes by."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import OrderedDict
from concurrent.futures import Future
from contextlib import suppress
from typing import Final

from modelcar.errors import DigestMismatch, InvalidContent, ModelcarError
from modelcar.layers.outline import LARGEST, outline_index_layer
from modelcar.lazy.grid import Grid
from modelcar.oci import Descriptor, Digest
from registry_shim.cache.lease import Leases, Purpose
from registry_shim.cache.reading import arrival, reader
from registry_shim.mirror.images import Part
from registry_shim.mirror.pool import Pool
from registry_shim.origin import Origin

__all__ = ["Indexes", "Leases"]

_REMEMBERED: Final = 32 << 20  # bytes of index layers; what is kept of them takes half as much
_PATIENCE: Final = 300.0  # seconds
_THREADS: Final = 2
_ATTEMPTS: Final = 3  # each asks fewer of those who may have sent what was wrong, in the end the upstream alone
_log = logging.getLogger("registry_shim.mirror")

Tables = dict[Digest, Grid]


class Indexes:
    """Safe to share between threads. Close it."""

    def __init__(self, leases: Leases, patience: float) -> None:
        """`patience`: seconds that a blob waits for the index that describes it."""
        self._leases = leases
        self._patience = patience
        self._threads = Pool(_THREADS, "index")
        self._lock = threading.Lock()
        self._tables: OrderedDict[Digest, tuple[int, Future[Tables]]] = OrderedDict()
        self._lies: set[tuple[Digest, Digest]] = set()

    def begin(self, origin: Origin, index: Descriptor) -> Future[Tables] | None:
        """Fetch an index layer and read it, unless that has been done; `None` if it is too large."""
        if index.size > LARGEST:
            return None
        with self._lock:
            _, future = self._tables.get(index.digest, (0, None))
            if future is None or (future.done() and (future.cancelled() or future.exception() is not None)):
                future = self._threads.submit(self._read, origin, index)
                self._tables[index.digest] = (index.size, future)
            self._tables.move_to_end(index.digest)
            while len(self._tables) > 1 and sum(size for size, _ in self._tables.values()) > _REMEMBERED:
                self._tables.popitem(last=False)
            return future

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
        grid = future.result().get(part.descriptor.digest)
        if grid is None or grid.size != part.descriptor.size:
            return None
        return None if (part.index.digest, grid.digest) in self._lies else grid

    def distrust(self, part: Part, error: ModelcarError) -> None:
        """The index says of this blob what its bytes are not: from now on the blob is cut without it."""
        if part.index is not None:
            _log.warning("the model index %s is wrong about %s: %s", part.index.digest, part.descriptor.digest, error)
            self._lies.add((part.index.digest, part.descriptor.digest))

    def _read(self, origin: Origin, index: Descriptor) -> Tables:
        try:
            return self._insist(origin, index)
        except (ModelcarError, TimeoutError) as e:
            _log.warning("%s: the model index %s cannot be read: %s", origin, index.digest, e)
            raise

    def _insist(self, origin: Origin, index: Descriptor) -> Tables:
        for _ in range(_ATTEMPTS - 1):
            with suppress(DigestMismatch):
                return self._bring(origin, index)
        return self._bring(origin, index)

    def _bring(self, origin: Origin, index: Descriptor) -> Tables:
        with self._leases.lease(origin, index, purpose=Purpose.PULL) as lease:
            arrival(lease, _PATIENCE)
            try:
                model = outline_index_layer(reader(lease), index.size)
            except DigestMismatch:  # it is not what was asked for
                raise
            except InvalidContent as e:  # for good: to find that out again and again takes long
                _log.warning("%s: the model index %s is none: %s", origin, index.digest, e)
                return {}
        return {layer.digest: Grid.of_layer(layer) for layer in model.layers}

    def close(self) -> None:
        self._threads.close()
