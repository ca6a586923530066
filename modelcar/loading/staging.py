"""Tensors in the memory of a device: reads land in a few page-locked buffers, and the device copies them from there.

While it copies one buffer the next one is filled. What differs between devices is behind `Device`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, Protocol

from modelcar.loading.plan import Read, Wanted

__all__ = ["Device", "Staged", "StagingBuffer"]


class StagingBuffer(Protocol):
    """Page-locked memory that a device can copy from by itself."""

    @property
    def memory(self) -> memoryview: ...

    def copy_to(self, target: Any, offset: int, start: int, stop: int) -> None:
        """Begin to copy the bytes `[start, stop)` to `offset` of what `Device.allocate` returned."""

    def mark(self) -> None:
        """What was begun so far is what `wait` waits for."""

    def wait(self) -> None:
        """Until the device needs this memory no more."""


class Device(Protocol):
    """Safe to use from several threads."""

    def staging(self, size: int) -> StagingBuffer: ...

    def allocate(self, size: int, name: str) -> Any:
        """Memory on the device, in bytes. Raises `WorldError` where there is not so much."""

    def tensor(self, memory: Any, dtype: str, shape: tuple[int, ...]) -> Any:
        """What the program gets: valid for all it does on the device after this call."""


class Staged:
    """A `Destination` on a device."""

    def __init__(self, wanted: Sequence[Wanted], device: Device, *, buffers: int, size: int) -> None:
        """`buffers` of `size` bytes each, which is at least that of every read; more of them than threads read."""
        self._wanted, self._device = wanted, device
        self._memory: dict[int, Any] = {}
        self._free: SimpleQueue[StagingBuffer] = SimpleQueue()
        for _ in range(buffers):
            self._free.put(device.staging(size))

    def begin(self, number: int) -> None:
        wanted = self._wanted[number]
        size = wanted.strips.size
        self._memory[number] = bytearray(size) if wanted.proof else self._device.allocate(size, wanted.name)

    @contextmanager
    def receiving(self, read: Read) -> Iterator[Sequence[memoryview]]:
        buffer = self._free.get()  # the one whose copies began first
        try:
            buffer.wait()
            views, position = [], 0
            for share in read.shares:
                stop = position + share.stop - share.start
                views.append(buffer.memory[position:stop])
                position = stop
            yield views
            for share, view, stop in zip(read.shares, views, _stops(views), strict=True):
                memory = self._memory[share.wanted]
                if self._wanted[share.wanted].proof:
                    memory[share.start : share.stop] = view
                else:
                    buffer.copy_to(memory, share.start, stop - len(view), stop)
            buffer.mark()
        finally:
            self._free.put(buffer)

    def take(self, number: int) -> Any:
        wanted, memory = self._wanted[number], self._memory.pop(number)
        if wanted.proof:
            return bytes(memory)
        return self._device.tensor(memory, wanted.dtype, wanted.strips.shape)


def _stops(views: Sequence[memoryview]) -> Iterator[int]:
    position = 0
    for view in views:
        position += len(view)
        yield position
