"""A blob on its way to a client while it arrives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Final

from modelcar.cache.lease import Lease
from modelcar.errors import StorageError
from modelcar.layers.bytemap import FileSlice

__all__ = ["LeaseStream", "Promise"]

_AHEAD: Final = 32 << 20  # bytes that a reader tells the cache it is going to want


class Promise:
    """The size of a body that nobody wants: the answer to HEAD."""

    def __init__(self, size: int) -> None:
        self.size = size

    async def pieces(self) -> AsyncGenerator[bytes | FileSlice, None]:
        if self.size:
            raise StorageError("a body was asked for where only its size was promised")
        yield b""


class LeaseStream:
    """A range of a leased blob; owns the lease, which ends with `pieces`."""

    def __init__(self, lease: Lease, offset: int, size: int, sent: Callable[[int], None] = lambda _: None) -> None:
        """`sent` is told how many bytes have gone out."""
        self._lease = lease
        self._offset = offset
        self._size = size
        self._sent = sent

    def __del__(self) -> None:
        self._lease.close()  # for a client that left before `pieces` began

    @property
    def size(self) -> int:
        return self._size

    async def begin(self) -> None:
        """Wait for the first byte. Raises what the cache says if it never comes; the lease is closed then."""
        try:
            await _ready(self._lease, self._offset, self._size)
        except BaseException:
            self._lease.close()
            raise

    async def pieces(self) -> AsyncGenerator[bytes | FileSlice, None]:
        position, stop = self._offset, self._offset + self._size
        with self._lease as lease:
            while position < stop:
                here = min(await _ready(lease, position, stop - position), stop - position)
                yield lease.slice(position, here)
                position += here
                self._sent(here)


async def _ready(lease: Lease, position: int, wanted: int) -> int:
    """How many of the `wanted` bytes are here; waits until some are, and asks for those that follow."""
    if not wanted:
        return 0
    here = lease.available(position)
    ahead = min(wanted, _AHEAD)
    if here < ahead:
        lease.need(position + here, ahead - here)
    while not (here := lease.available(position)):
        await asyncio.wrap_future(lease.when(position, 1))
    return here
