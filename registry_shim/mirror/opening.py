"""The beginning of a blob's answer: cut as its index says, with credentials that are good, and with an error that is
about the one who asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from modelcar.cache.lease import Leases, Purpose
from modelcar.cache.origin import Origin
from modelcar.errors import (
    Forbidden,
    InvalidContent,
    RateLimited,
    RegistryError,
    RemoteNotFound,
    SizeMismatch,
    Unauthorized,
    Unreachable,
)
from modelcar.oci import Digest
from modelcar.serving.threads import in_thread
from registry_shim.mirror.access import Gatekeeper
from registry_shim.mirror.images import Part
from registry_shim.mirror.streams import LeaseStream
from registry_shim.mirror.tables import Tables

__all__ = ["Opener"]

Find = Callable[[Origin, Digest], Awaitable[Part]]


class Opener:
    """`find` asks the upstream whether a blob may be read, where that is not known."""

    def __init__(self, leases: Leases, tables: Tables, gatekeeper: Gatekeeper, find: Find) -> None:
        self._leases, self._tables, self._gatekeeper, self._find = leases, tables, gatekeeper, find

    async def open(self, origin: Origin, part: Part, offset: int, size: int) -> LeaseStream:
        """The range, of which the first bytes are here: what goes wrong before them can still be answered properly.

        Raises:
            Unauthorized, Forbidden, RemoteNotFound: `origin` may not read it any more: a token may have ended since.
            RegistryError: it cannot be fetched.
            InvalidContent, StorageError: as the cache says.
        """
        try:
            return await self._cut(origin, part, offset, size)
        except (Unauthorized, Forbidden, RemoteNotFound):
            # Perhaps to somebody else, for whose repository the same blob is fetched: what about this one?
            self._gatekeeper.forget(origin)
        except RegistryError as e:
            raise _about(e, origin, part.descriptor.digest) from None
        part = await self._find(origin, part.descriptor.digest)
        try:
            return await self._cut(origin, part, offset, size)
        except RegistryError as e:
            raise _about(e, origin, part.descriptor.digest) from None

    async def _cut(self, origin: Origin, part: Part, offset: int, size: int) -> LeaseStream:
        grid = await self._tables.grid(origin, part)
        lease = partial(self._leases.lease, origin, part.descriptor, purpose=Purpose.PULL)
        try:
            stream = LeaseStream(await in_thread(lease, grid=grid), offset, size)
            await stream.begin()
        except InvalidContent as e:
            if grid is None or isinstance(e, SizeMismatch):
                raise
            self._tables.distrust(part, e)
            stream = LeaseStream(await in_thread(lease), offset, size)
            await stream.begin()
        return stream


def _about(error: RegistryError, origin: Origin, digest: Digest) -> RegistryError:
    """`error` without what it may say about other repositories that have the same blob."""
    kind = type(error) if isinstance(error, RateLimited | Unreachable) else RegistryError
    answered = f"the answer was {error.status}" if error.status else "there was no answer"
    told = kind(f"{origin.registry}: fetching {digest} for {origin.repository}: {answered}", status=error.status)
    told.retry_after = error.retry_after
    return told
