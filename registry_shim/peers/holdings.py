"""What this node has for its peers, and what it fetches for them."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final, Protocol
from weakref import WeakValueDictionary

from modelcar.cache.lease import Lease
from modelcar.cache.origin import Origin
from modelcar.lazy.grid import Grid
from modelcar.oci import Digest
from modelcar.serving.threads import in_thread

__all__ = ["Grids", "Holdings", "Leases", "Shared"]

_LINGER: Final = 30.0  # seconds that what is fetched is leased after the last request for it
_BRIEFLY: Final = 5.0  # likewise, for what is only looked at
_MOST_TABLES: Final = 64 << 20  # bytes of chunk tables in memory, about
_ENTRY: Final = 200  # bytes that a table's chunk takes in memory, about

_Key = tuple[object, ...]


class Holdings(Protocol):
    """The node's cache, as its peers may use it. `find` and `fetch` block."""

    def find(self, digest: Digest, grid: str) -> Lease | None:
        """What is here of a blob, nothing of which is fetched; `None` if nothing is. The lease may be of the whole
        blob, whatever `grid` is."""

    def chunks(self, digest: Digest, grid: str) -> bytes | None:
        """One byte a chunk, 1 if it is here, of a blob that arrives."""

    def fetch(self, origin: Origin, grid: Grid) -> Lease:
        """A lease for peers: what is `need`ed of it is fetched, and no more.

        Raises:
            ModelcarError: it cannot be fetched.
        """


class Grids:
    """Chunk tables that peers have told, the last used last."""

    def __init__(self, limit: int = _MOST_TABLES) -> None:
        self._limit = limit
        self._held = 0
        self._tables: OrderedDict[tuple[Digest, str], Grid] = OrderedDict()

    def get(self, digest: Digest, name: str) -> Grid | None:
        grid = self._tables.get((digest, name))
        if grid is not None:
            self._tables.move_to_end((digest, name))
        return grid

    def add(self, grid: Grid) -> None:
        if self._tables.pop((grid.digest, grid.name), None) is None:
            self._held += len(grid) * _ENTRY
        self._tables[grid.digest, grid.name] = grid
        while self._held > self._limit and len(self._tables) > 1:
            _, oldest = self._tables.popitem(last=False)
            self._held -= len(oldest) * _ENTRY


class Shared:
    """A lease that several requests use. It stays open for a while after the last one, so that those who were told to
    come again find what they asked for on its way."""

    def __init__(self, lease: Lease, linger: float) -> None:
        self.lease = lease
        self._linger = linger
        self._users = 0
        self._last_used = time.monotonic()

    @contextmanager
    def in_use(self) -> Iterator[Lease]:
        """The lease stays open during the block."""
        self._users += 1
        try:
            yield self.lease
        finally:
            self._users -= 1
            self._last_used = time.monotonic()

    def touch(self) -> None:
        self._last_used = time.monotonic()

    @property
    def forgotten(self) -> bool:
        return not self._users and time.monotonic() - self._last_used > self._linger


class Leases:
    """The leases of peers' requests, one for all that concern the same. For one event loop."""

    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings
        self._shared: dict[_Key, Shared] = {}
        self._replaced: list[Shared] = []  # and still in use
        self._making: WeakValueDictionary[_Key, asyncio.Lock] = WeakValueDictionary()  # while somebody waits

    async def find(self, digest: Digest, grid: str) -> Shared | None:
        """As `Holdings.find`."""
        return await self._get(_found(digest, grid), _BRIEFLY, partial(self._holdings.find, digest, grid))

    async def again(self, digest: Digest, grid: str, found: Shared) -> Shared:
        """As `find`, when what it `found` is not enough: all of the blob may have come under another table since."""
        lease = await in_thread(self._holdings.find, digest, grid)
        if lease is None or lease.available(0) < lease.grid.size or self._shared.get(_found(digest, grid)) is not found:
            if lease is not None:
                await in_thread(lease.close)
            return self._shared.get(_found(digest, grid), found)
        self._replaced.append(found)
        self._shared[_found(digest, grid)] = whole = Shared(lease, _BRIEFLY)
        return whole

    async def fetch(self, origin: Origin, grid: Grid) -> Shared:
        """As `Holdings.fetch`."""
        key = ("fetch", grid.digest, grid.name, origin.name, origin.authorization)
        shared = await self._get(key, _LINGER, partial(self._holdings.fetch, origin, grid))
        assert shared is not None  # noqa: S101  # fetching either gives a lease or raises
        return shared

    async def _get(self, key: _Key, linger: float, make: Callable[[], Lease | None]) -> Shared | None:
        if key not in self._shared:
            async with self._making.setdefault(key, asyncio.Lock()):  # of this one only: some take long to begin
                if key not in self._shared and (lease := await in_thread(make)) is not None:
                    self._shared[key] = Shared(lease, linger)
        shared = self._shared.get(key)
        if shared is not None:
            shared.touch()
        return shared

    async def tidy(self) -> None:
        """Let go of what nobody asked for of late. Call it every now and then."""
        for key in [key for key, shared in self._shared.items() if shared.forgotten]:
            await in_thread(self._shared.pop(key).lease.close)
        for shared in [shared for shared in self._replaced if shared.forgotten]:
            self._replaced.remove(shared)
            await in_thread(shared.lease.close)

    async def close(self) -> None:
        """No request may run any more."""
        while self._shared:
            await in_thread(self._shared.popitem()[1].lease.close)
        while self._replaced:
            await in_thread(self._replaced.pop().lease.close)


def _found(digest: Digest, grid: str) -> _Key:
    return "find", digest, grid
