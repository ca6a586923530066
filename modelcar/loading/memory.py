"""Where tensors are put together: memory of this machine, allocated once, written to once."""

from __future__ import annotations

import mmap
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, Protocol

from modelcar.errors import WorldError
from modelcar.loading.plan import Read, Wanted

__all__ = ["Destination", "HostMemory", "MakeTensor", "allocate"]

MakeTensor = Callable[[memoryview, str, tuple[int, ...]], Any]
"""From memory, dtype and shape to a tensor that keeps the memory alive."""

_MAPPED: Final = 1 << 20  # bytes from which a mapping of its own is worth the pages that it rounds up to


class Destination(Protocol):
    """Takes what reads bring. Numbers are those of the `Wanted`."""

    def begin(self, number: int) -> None:
        """Have memory for it; called once, before its first byte comes. Raises `WorldError` where there is none."""

    def receiving(self, read: Read) -> AbstractContextManager[Sequence[memoryview]]:
        """Memory for each share of a read, to be filled in the block."""

    def take(self, number: int) -> Any:
        """The tensor, all of whose bytes have come; bytes, of a proof. Called once."""


class HostMemory:
    """A `Destination` in which reads land where the bytes stay."""

    def __init__(self, wanted: Sequence[Wanted], make: MakeTensor) -> None:
        self._wanted, self._make = wanted, make
        self._memory: dict[int, memoryview] = {}

    def begin(self, number: int) -> None:
        wanted = self._wanted[number]
        self._memory[number] = allocate(wanted.strips.size, wanted.name)

    @contextmanager
    def receiving(self, read: Read) -> Iterator[Sequence[memoryview]]:
        yield [self._memory[share.wanted][share.start : share.stop] for share in read.shares]

    def take(self, number: int) -> Any:
        wanted, memory = self._wanted[number], self._memory.pop(number)
        if wanted.proof:
            return bytes(memory)
        return self._make(memory, wanted.dtype, wanted.strips.shape)


def allocate(size: int, name: str) -> memoryview:
    """Writable memory of `size` bytes, aligned for every dtype. Raises `WorldError` where there is not so much.

    Not of huge pages: on a machine whose memory is in pieces, finding them costs more than the page faults do.
    """
    try:
        if size < _MAPPED or sys.platform != "linux":
            return memoryview(bytearray(size))
        return memoryview(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
    except (OSError, MemoryError):
        raise WorldError(
            f"there is no memory for {name!r}, which has {size} bytes",
            hint="load less of the model with `rank`, or one tensor after the other with `modelcar.stream`",
        ) from None
