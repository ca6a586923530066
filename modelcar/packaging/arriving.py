"""Layers whose files are elsewhere: brought one after the other, in order, each hashed right behind its bytes.

One file at a time gets the whole line, by several requests, so the first one is complete, and on its way to where it is
to go, while the others have not begun. Two files at once would both be complete at the end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, Protocol

from modelcar.checkpoint import CheckpointFile
from modelcar.checkpoint.arrival import arriving, bring_file
from modelcar.checkpoint.remote import Remote
from modelcar.errors import SourceChanged, WorldError
from modelcar.files import FileStamp
from modelcar.layers.bytemap import FileRange
from modelcar.layers.hashing import LayerDigests
from modelcar.layers.tar import Entry, build_tar
from modelcar.packaging.plan import PlannedLayer
from modelcar.packaging.streams import Departure, GrowingBytes

__all__ = ["Bringer", "HashLayer"]

_TICK: Final = 0.02  # seconds
_LONGEST_TICK: Final = 0.5  # seconds; a disk with a coarser clock is not waited for


class HashLayer(Protocol):
    """Hashes a planned layer; `ready` is told how far its next bytes reach, and returns when they are there."""

    def __call__(self, layer: PlannedLayer, ready: Callable[[int], None]) -> LayerDigests: ...


class Bringer:
    """Brings the layers of one checkpoint; shared by the threads that digest them.

    `can_do_without` says of a layer whose digests are known whether its bytes are not wanted here.
    """

    def __init__(
        self, remote: Remote, can_do_without: Callable[[PlannedLayer, LayerDigests], bool] = lambda *_: False
    ) -> None:
        self._remote, self._can_do_without = remote, can_do_without
        self._turns = _Turns()

    def layer(
        self,
        number: int,
        layer: PlannedLayer,
        known: LayerDigests | None,
        hashing: HashLayer,
        departure: Departure,
        *,
        stopped: Callable[[], bool],
        advance: Callable[[int], None],
    ) -> tuple[PlannedLayer, LayerDigests | None]:
        """Layer `number`, its files here, and its digests if they are `known` or were found on the way.

        Where they are known and whoever wants the layers can do without this one, nothing is brought. A layer of one
        file may leave while that arrives.

        Raises:
            DigestMismatch: something else came than the source promised.
            WorldError: it does not come.
        """
        if not layer.is_awaited or (known is not None and self._can_do_without(layer, known)):
            self._turns.end(number)
            return layer, known
        digests = known
        with self._turns.turn(number, stopped):
            if digests is None and len(layer.files) == 1 and layer.estargz is None:
                file, digests = self._behind_its_bytes(layer, hashing, departure, stopped, advance)
                files: tuple[CheckpointFile, ...] = (file,)
            else:
                files = tuple(
                    bring_file(self._remote, f, stopped=stopped, advance=advance) if f.awaited else f
                    for f in layer.files
                )
        return layer.of([_settled(file) for file in files]), digests

    def _behind_its_bytes(
        self,
        layer: PlannedLayer,
        hashing: HashLayer,
        departure: Departure,
        stopped: Callable[[], bool],
        advance: Callable[[int], None],
    ) -> tuple[CheckpointFile, LayerDigests]:
        (file,), (payload,) = layer.files, layer.tar.payloads

        with arriving(self._remote, file, stopped=stopped, advance=advance) as arrival:
            content = FileRange(path=arrival.path, offset=0, size=file.size, origin=file.origin)
            growing = Entry(path=payload.path, content=content)
            unfinished = replace(layer, entries=(growing,), tar=build_tar([growing]))
            departure.start(unfinished, GrowingBytes(unfinished.tar.content, arrival.path))
            digests = hashing(unfinished, lambda stop: arrival.wait(min(max(stop - payload.offset, 0), file.size)))
            found = digests.files.get(payload.path)
            return arrival.finish(found.hex if found is not None else None), digests


class _Turns:
    """Lets numbered threads in one after the other, in the order of their numbers."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._next = 0
        self._ended: set[int] = set()

    @contextmanager
    def turn(self, number: int, stopped: Callable[[], bool]) -> Iterator[None]:
        """The block runs when all before `number` have had their turn."""
        with self._changed:
            while self._next < number:
                if stopped():
                    raise WorldError("the layers before it did not come")
                self._changed.wait(_TICK)
        try:
            yield
        finally:
            self.end(number)

    def end(self, number: int) -> None:
        with self._changed:
            self._ended.add(number)
            while self._next in self._ended:
                self._ended.remove(self._next)
                self._next += 1
            self._changed.notify_all()


def _settled(file: CheckpointFile) -> CheckpointFile:
    """Wait for the clock of the disk to go on, so that whatever is written to the file from now on shows."""
    for _ in range(round(_LONGEST_TICK / _TICK)):
        if file.stamp.is_settled(time.time_ns()):
            break
        time.sleep(_TICK)
    change = file.stamp.difference(FileStamp.from_stat(file.source.stat()))
    if change is not None:
        raise SourceChanged(f"{file.source} has changed since it came: {change}", hint="try again")
    return file
