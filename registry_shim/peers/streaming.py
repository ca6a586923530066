"""A range of a lease as a response's body: each chunk leaves as soon as it is verified."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass

from modelcar.errors import WorldError
from modelcar.layers.bytemap import FileSlice
from registry_shim.peers.holdings import Shared

__all__ = ["Pieces"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """A `Stream`. The peer is not kept waiting for longer than `patience` seconds (it asks others then).

    Attributes:
        sending: entered while bytes leave.
    """

    shared: Shared
    offset: int
    size: int
    patience: float
    sending: Callable[[], AbstractContextManager[None]]

    async def pieces(self) -> AsyncGenerator[bytes | FileSlice, None]:
        position, stop = self.offset, self.offset + self.size
        with self.sending(), self.shared.in_use() as lease:
            while position < stop:
                here = min(lease.available(position), stop - position)
                if here == 0:
                    _, size = lease.grid.bounds(lease.grid.at(position))
                    await self._wait(lease.when(position, min(size, stop - position)))
                    continue
                yield lease.slice(position, here)
                position += here

    async def _wait(self, ready: Future[None]) -> None:
        try:
            await asyncio.wait_for(asyncio.wrap_future(ready), self.patience)
        except TimeoutError:
            raise WorldError("a peer asked for what takes too long to come") from None
