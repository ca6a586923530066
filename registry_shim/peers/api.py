"""What this node answers to its peers."""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Final

from modelcar.cache.lease import Lease
from modelcar.cache.origin import Origin
from modelcar.errors import (
    Denied,
    Forbidden,
    InvalidDigest,
    InvalidDocument,
    InvalidReference,
    ModelcarError,
    NotFound,
    RemoteNotFound,
    Unauthorized,
)
from modelcar.lazy.grid import Grid
from modelcar.oci import Digest, compact_json
from modelcar.serving.messages import Request, Response
from modelcar.serving.threads import in_thread
from registry_shim.peers.access import Access
from registry_shim.peers.directions import Directions
from registry_shim.peers.holdings import Grids, Holdings, Leases, Shared
from registry_shim.peers.protocol import (
    AUTHORIZATION,
    HAVE,
    MOST_CHUNKS,
    ORIGIN,
    PREFIX,
    SENDER,
    SENDING,
    SIZE,
    pack_map,
)
from registry_shim.peers.settings import PeerSettings
from registry_shim.peers.streaming import Pieces

__all__ = ["PeerApi"]

_RANGE: Final = re.compile(r"bytes=(\d{1,19})-(\d{1,19})")
_GRID: Final = re.compile(r"plain|[0-9a-f]{16}")
_MOST_TABLE: Final = 64 << 20  # bytes of JSON
_TABLES: Final = 2  # that are read at a time: parsed, one takes many times its bytes
_PAUSE: Final = {"Retry-After": "1"}
_log = logging.getLogger("registry_shim.peers")


class Refusal(Exception):
    """An answer that is a no."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class PeerApi:
    """A handler for `modelcar.serving.http.listening`, on a listener that nobody but peers can reach.

    A chunk that this node is the home of is fetched, by nobody else's leave, where it is missing; of all others only
    what is here is given. A request is never passed on to another peer, and only verified bytes leave.
    """

    def __init__(self, settings: PeerSettings, directions: Directions, holdings: Holdings, access: Access) -> None:
        self._settings = settings
        self._directions = directions
        self._holdings = holdings
        self._access = access
        self._grids = Grids()
        self._reading = asyncio.Semaphore(_TABLES)
        self._leases = Leases(holdings)
        self._sending: Counter[str] = Counter()

    async def handle(self, request: Request) -> Response:
        try:
            return await self._route(request)
        except Refusal as e:
            return _no(e.status, str(e))
        except (InvalidDigest, InvalidDocument, InvalidReference) as e:
            return _no(400, str(e))
        except ModelcarError as e:
            _log.info("%s: %s", request.path, e)
            return _no(_status(e), str(e))

    async def tend(self) -> None:
        """Runs until it is cancelled."""
        while True:
            await asyncio.sleep(5)
            await self._leases.tidy()

    async def close(self) -> None:
        await self._leases.close()

    async def _route(self, request: Request) -> Response:
        match [request.method, *request.path.removeprefix(PREFIX).split("/")]:
            case [_, *_] if not request.path.startswith(PREFIX):
                raise Refusal(404, "this is the peers' API")
            case ["GET", ""]:
                return Response(status=200, body=b"{}", headers={"Content-Type": "application/json"})
            case ["PUT", "grids", digest, name]:
                return await self._take_grid(request, Digest.parse(digest), name)
            case ["GET" | "HEAD", "blobs", digest, name, "have"] if _GRID.fullmatch(name):
                return await self._have(request, Digest.parse(digest), name)
            case ["GET", "blobs", digest, name] if _GRID.fullmatch(name):
                return await self._blob(request, Digest.parse(digest), name)
        raise Refusal(404, "there is no such thing")

    async def _take_grid(self, request: Request, digest: Digest, name: str) -> Response:
        if request.body.length is None or request.body.length > _MOST_TABLE:
            raise Refusal(413, "a chunk table has at most 64 MiB")
        async with self._reading:
            raw = b"".join([piece async for batch in request.body.batches(1 << 20) for piece in batch])
            grid = await in_thread(Grid.parse, raw)
        if (grid.digest, grid.name) != (digest, name) or not grid.verifiable:
            raise Refusal(400, "this is another table than its name says")  # so a liar harms itself alone
        self._grids.add(grid)
        return Response(status=201)

    async def _have(self, request: Request, digest: Digest, name: str) -> Response:
        await self._access.admit(_origin(request), digest)
        here = await self._leases.find(digest, name)
        if here is None:
            raise Refusal(404, "nothing of it is here")
        if not _is_whole(here.lease):
            here = await self._leases.again(digest, name, here)
        return Response(status=200, headers=self._state(here))

    async def _blob(self, request: Request, digest: Digest, name: str) -> Response:
        match = _RANGE.fullmatch(request.headers.get("range", ""))
        if match is None:
            raise Refusal(400, "peers ask for ranges")
        offset, length = int(match[1]), int(match[2]) - int(match[1]) + 1
        admitted = await self._access.admit(_origin(request), digest)
        if (
            self._sending.total() >= self._settings.sending
            or self._sending[request.client] >= self._settings.sending_each
        ):
            return _no(503, "too much is being sent", _PAUSE)
        here = await self._leases.find(digest, name)
        if here is not None and not _has(here.lease, offset, length):
            here = await self._leases.again(digest, name, here)
        if here is not None and _has(here.lease, offset, length):
            return self._sent(request, here, offset, length)
        grid = self._grid(request, digest, name, admitted.size, here)
        if length < 1 or offset + length > grid.size:
            raise Refusal(416, "the blob ends before that")
        sender = request.headers.get(SENDER.lower(), "")
        if not await in_thread(self._accepts, grid, grid.numbers(offset, length), sender):
            return _no(404, "it is not here, and this node is not its home", self._state(here))
        return await self._fetched(request, admitted.origin, grid, offset, length)

    async def _fetched(self, request: Request, origin: Origin, grid: Grid, offset: int, length: int) -> Response:
        """The beginning of the range is waited for, for a while: an answer that begins goes on."""
        shared = await self._leases.fetch(origin, grid)
        begin, size = offset, min(length, sum(grid.bounds(grid.at(offset))) - offset)
        if not grid.verifiable:  # nothing of it may leave before all of it is here
            begin, size = 0, grid.size
        with shared.in_use() as lease:
            lease.need(begin, length if grid.verifiable else size)
            try:
                ready = asyncio.wrap_future(lease.when(begin, size))
                await asyncio.wait_for(ready, self._settings.hold_seconds)
            except TimeoutError:
                return _no(503, "it is on its way", self._state(shared) | _PAUSE)
        return self._sent(request, shared, offset, length)

    def _accepts(self, grid: Grid, numbers: range, sender: str) -> bool:
        return all(self._directions.accepts(grid, number, sender) for number in numbers)

    def _grid(self, request: Request, digest: Digest, name: str, size: int, here: Shared | None) -> Grid:
        """How the blob of `size` bytes is cut. Raises `Refusal` if nobody has told yet, or somebody who is wrong about
        its size: room would be made for that much, and readers here be given it."""
        if name == "plain":
            told = request.headers.get(SIZE.lower(), "")
            if told != str(size):
                raise Refusal(404 if told.isdigit() else 400, f"{SIZE} is not the blob's")
            return Grid.plain(digest, size)
        grid = here.lease.grid if here and here.lease.grid.name == name else self._grids.get(digest, name)
        if grid is None:
            raise Refusal(409, "the chunk table is not known here")
        if grid.size != size:
            raise Refusal(404, "the chunk table is not one of this blob")
        return grid

    def _sent(self, request: Request, shared: Shared, offset: int, length: int) -> Response:
        total = shared.lease.grid.size
        return Response(
            status=206,
            headers={
                "Content-Type": "application/octet-stream",
                "Content-Range": f"bytes {offset}-{offset + length - 1}/{total}",
                **self._state(shared, beginning=1),
            },
            body=Pieces(
                shared=shared,
                offset=offset,
                size=length,
                patience=self._settings.hold_seconds,
                sending=partial(self._counted, request.client),
            ),
        )

    def _state(self, shared: Shared | None, *, beginning: int = 0) -> dict[str, str]:
        """The headers that say what is here, and how much is being sent."""
        return {SENDING: str(self._sending.total() + beginning), **self._map_of(shared)}

    def _map_of(self, shared: Shared | None) -> dict[str, str]:
        if shared is None:
            return {}
        lease = shared.lease
        if _is_whole(lease):
            return {HAVE: pack_map(b"\1")}
        if not lease.grid.verifiable or len(lease.grid) > MOST_CHUNKS:
            return {}
        chunks = self._holdings.chunks(lease.grid.digest, lease.grid.name)
        return {HAVE: pack_map(chunks)} if chunks is not None else {}

    @contextmanager
    def _counted(self, client: str) -> Iterator[None]:
        self._sending[client] += 1
        try:
            yield
        finally:
            self._sending[client] -= 1
            if not self._sending[client]:
                del self._sending[client]


def _origin(request: Request) -> Origin:
    """Raises `Refusal` or `InvalidReference` for what names no repository."""
    registry, _, repository = request.headers.get(ORIGIN.lower(), "").partition("/")
    if not repository:
        raise Refusal(400, f"{ORIGIN} is missing")
    origin = Origin(registry=registry, repository=repository, authorization=request.headers.get(AUTHORIZATION.lower()))
    origin.reference(tag="any")
    return origin


def _has(lease: Lease, offset: int, length: int) -> bool:
    """Whether a range is here and verified."""
    if not 0 < length <= lease.grid.size - offset:
        return False
    return lease.available(offset) >= length and (lease.grid.verifiable or _is_whole(lease))


def _is_whole(lease: Lease) -> bool:
    return lease.available(0) == lease.grid.size


def _status(error: ModelcarError) -> int:
    """What this node cannot get or may not give others may: 502 is not held against it."""
    match error:
        case Unauthorized():
            return 401
        case Forbidden() | Denied():
            return 403
        case RemoteNotFound() | NotFound():
            return 404
    return 502


def _no(status: int, reason: str, headers: Mapping[str, str] | None = None) -> Response:
    body = compact_json({"message": reason})
    return Response(status=status, headers={"Content-Type": "application/json", **(headers or {})}, body=body)
