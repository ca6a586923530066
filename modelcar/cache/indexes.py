"""Model indexes of images, read through a cache: each once, however many want it, and the last few kept in memory."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from modelcar.cache.lease import Leases
from modelcar.cache.origin import Origin
from modelcar.cache.reading import reader, whole
from modelcar.errors import DigestMismatch, InvalidContent, InvalidDocument, ModelcarError, Unreachable
from modelcar.layers.index import ModelIndex
from modelcar.layers.outline import LARGEST, outline_index_layer
from modelcar.lazy.grid import Grid
from modelcar.oci import Descriptor, Digest

__all__ = ["PATIENCE", "Indexed", "Indexes", "Reading"]

PATIENCE: Final = 300.0  # seconds for an index layer to arrive
_REMEMBERED: Final = 32 << 20  # bytes of index layers; what is kept of them takes half as much
_ATTEMPTS: Final = 3  # each asks fewer of those who may have sent what was wrong, in the end the upstream alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed:
    """What an index layer says: its outline, and how each layer is cut; or for what `problem` it is none."""

    outline: ModelIndex | None = None
    grids: Mapping[Digest, Grid]
    problem: str = ""

    @property
    def index(self) -> ModelIndex:
        """Raises `InvalidDocument` if it is none."""
        if self.outline is None:
            raise InvalidDocument(self.problem)
        return self.outline


class Reading:
    """One index layer on its way into memory. `future` fails with `InvalidContent` or `WorldError`."""

    def __init__(self, indexes: Indexes, origin: Origin, layer: Descriptor, patience: float) -> None:
        self.future: Future[Indexed] = Future()
        self._indexes, self._origin, self._layer, self._patience = indexes, origin, layer, patience
        self._lock = threading.Lock()
        self._begun = False

    def run(self) -> bool:
        """Read it, here and now, unless somebody does or did; False then."""
        with self._lock:
            if self._begun:
                return False
            self._begun = True
        try:
            found = self._indexes.fetch(self._origin, self._layer, self._patience)
        except BaseException as e:
            self._indexes.forget(self._layer, self)  # first, so that whoever is told can try again
            self.future.set_exception(e)
        else:
            self.future.set_result(found)
        return True


class Indexes:
    """Safe to use from several threads. That an index layer is no index is remembered, too; other failures are not."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._lock = threading.Lock()
        self._readings: OrderedDict[Digest, tuple[int, Reading]] = OrderedDict()

    def begin(self, origin: Origin, layer: Descriptor, patience: float = PATIENCE) -> tuple[Reading, bool]:
        """What is known of an index layer, or a new reading, for somebody to `run`; and whether it is new.

        Raises `InvalidDocument` for one that is larger than any that is read.
        """
        if layer.size > LARGEST:
            raise InvalidDocument(f"the model index {layer.digest} has {layer.size} bytes, more than are read")
        with self._lock:
            _, reading = self._readings.get(layer.digest, (0, None))
            if is_new := reading is None:
                reading = Reading(self, origin, layer, patience)
                self._readings[layer.digest] = (layer.size, reading)
            self._readings.move_to_end(layer.digest)
            while len(self._readings) > 1 and sum(size for size, _ in self._readings.values()) > _REMEMBERED:
                self._readings.popitem(last=False)
        return reading, is_new

    def read(self, origin: Origin, layer: Descriptor, patience: float = PATIENCE) -> Indexed:
        """The index in an index layer, which may take so many seconds to arrive.

        Raises:
            InvalidContent: it is no index, or larger than any that is read.
            WorldError: it cannot be had.
        """
        until = time.monotonic() + patience
        while True:
            reading, _ = self.begin(origin, layer, patience)
            ours = reading.run()
            try:
                found = reading.future.result(max(0.0, until - time.monotonic()))
            except TimeoutError:
                raise Unreachable(f"{layer.digest} did not come within {patience:.0f} s") from None
            except ModelcarError:
                if ours:
                    raise
            else:
                found.index  # noqa: B018  # raises if it is none
                return found

    def fetch(self, origin: Origin, layer: Descriptor, patience: float) -> Indexed:
        """Read an index layer, and remember nothing. Raises as `read` does, but for what is no index."""
        for _ in range(_ATTEMPTS - 1):
            with suppress(DigestMismatch):
                return self._bring(origin, layer, patience)
        return self._bring(origin, layer, patience)

    def forget(self, layer: Descriptor, reading: Reading) -> None:
        """That reading failed."""
        with self._lock:
            if self._readings.get(layer.digest, (0, None))[1] is reading:
                del self._readings[layer.digest]

    def _bring(self, origin: Origin, layer: Descriptor, patience: float) -> Indexed:
        with whole(self._leases, origin, layer, patience) as lease:
            try:
                outline = outline_index_layer(reader(lease), layer.size)
            except DigestMismatch:  # it is not what was asked for
                raise
            except InvalidContent as e:  # for good: to find that out again and again takes long
                return Indexed(grids={}, problem=str(e))
        return Indexed(outline=outline, grids={each.digest: Grid.of_layer(each) for each in outline.layers})
