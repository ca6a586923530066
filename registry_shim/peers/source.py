"""Chunks from a peer."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Final, Protocol

from modelcar.cache.origins import Origins
from modelcar.errors import ProtocolViolation, RegistryError, RemoteNotFound, Unreachable
from modelcar.lazy.grid import Grid
from modelcar.lazy.sources import ByteStream, SourceKind
from modelcar.registry.cancel import Cancelled, CancelScope, current_scope
from modelcar.registry.transport import Answer, Broken
from registry_shim.peers.client import PeerClient
from registry_shim.peers.members import Member
from registry_shim.peers.protocol import AUTHORIZATION, HAVE, ORIGIN, SENDING, SIZE, blob_path, grid_path, unpack_map

__all__ = ["Notes", "PeerSource"]

_RANGE: Final = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})")
_COUNT: Final = re.compile(r"\d{1,4}")
_PAUSE: Final = (0.05, 0.3)  # seconds until a peer is asked again that said it has it soon
_NOT_HERE: Final = frozenset({401, 403, 404, 502, 504})
"""What it does not have, may not give us, or could not get itself: others may. Nothing is wrong with the peer."""


class Notes(Protocol):
    """What a source finds out beside the bytes that it was asked for. From any thread; it must not block."""

    def learnt(self, member: Member, grid: Grid, bits: bytes) -> None:
        """Which chunks it has, as `protocol.unpack_map` returns them."""

    def loaded(self, member: Member, sending: int) -> None:
        """How many bodies it is sending."""

    def sharing(self, member: Member) -> int:
        """What it said last, and at least one."""

    def refused(self, member: Member, grid: Grid) -> None:
        """It is well, and neither has what it was asked for nor is going to."""

    def delayed(self, member: Member, grid: Grid, number: int) -> None:
        """A chunk is still on its way to it."""

    def begun(self, member: Member, grid: Grid, number: int, seconds: float) -> None:
        """It sends a chunk, `seconds` after it was asked the last time."""

    def asking(self, member: Member) -> AbstractContextManager[None]:
        """Entered while a request to it runs."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PeerSource:
    """A `ChunkSource`: what one peer has of a blob, for those who asked for it here.

    What a peer says is on its way is waited for, for `wait` seconds; then that it is missing, for now, is raised.
    """

    member: Member
    origins: Origins
    client: PeerClient
    notes: Notes
    wait: float
    lags: Callable[[Member, int, float], bool]
    """Whether a peer that sends so many bytes in so many seconds, to all, is given up."""

    @property
    def name(self) -> str:
        return self.member.name

    @property
    def kind(self) -> SourceKind:
        return SourceKind.PEER

    @contextmanager
    def fetch(self, grid: Grid, offset: int, length: int) -> Iterator[ByteStream]:
        """Blocks until the peer begins to send. See `ChunkSource.fetch`."""
        scope = current_scope() or CancelScope()
        with self.notes.asking(self.member):
            with _given_up(self.name):
                answer = self._ask(scope, grid, offset, length)
            try:
                yield _Stream(answer, scope, self)
            finally:
                answer.close()

    def look(self, grid: Grid) -> None:
        """Ask what it has, for `Notes.learnt`. Raises nothing."""
        with suppress(Broken):
            path = f"{blob_path(grid.digest, grid.name)}/have"
            answer = self.client.request(self.member, "GET", path, self._headers(grid))
            self._learn(grid, answer)
            answer.discard()

    def _ask(self, scope: CancelScope, grid: Grid, offset: int, length: int) -> Answer:
        """An answer that begins with the right byte."""
        path, headers = blob_path(grid.digest, grid.name), self._headers(grid)
        headers["Range"] = f"bytes={offset}-{offset + length - 1}"
        began, introduced = time.monotonic(), False
        deadline = began + self.wait
        while True:
            answer = self._request(scope, "GET", path, headers)
            self._learn(grid, answer)
            if answer.status == 206:
                _check_range(answer, grid, offset, length, self.name)
                self.notes.begun(self.member, grid, grid.at(offset), time.monotonic() - began)
                return answer
            answer.discard()
            if answer.status == 409 and not introduced:
                introduced = True
                self._introduce(scope, grid)
            elif answer.status == 503 and time.monotonic() < deadline:
                self.notes.delayed(self.member, grid, grid.at(offset))
                scope.wait(random.uniform(*_PAUSE))  # noqa: S311  # not a secret
            elif answer.status == 503:
                self.notes.delayed(self.member, grid, grid.at(offset))
                raise RemoteNotFound(f"{self.name} does not have {grid.digest} yet", status=503)
            elif answer.status in _NOT_HERE:
                self.notes.refused(self.member, grid)
                raise RemoteNotFound(f"{self.name} does not give {grid.digest}", status=answer.status)
            else:
                raise RegistryError(f"{self.name} answers {answer.status}", status=answer.status)

    def _introduce(self, scope: CancelScope, grid: Grid) -> None:
        """Tell it how the blob is cut."""
        answer = self._request(scope, "PUT", grid_path(grid), {}, grid.to_json())
        answer.discard()
        if answer.status not in (201, 204):
            raise RegistryError(f"{self.name} answers {answer.status} to a chunk table", status=answer.status)

    def _request(
        self, scope: CancelScope, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Answer:
        try:
            with scope.active():
                return self.client.request(self.member, method, path, headers, body)
        except Broken as e:
            scope.check()
            raise Unreachable(f"{self.name}: {e}") from None

    def _headers(self, grid: Grid) -> dict[str, str]:
        headers = {SIZE: str(grid.size)}
        for origin in self.origins.known()[:1]:
            headers[ORIGIN] = origin.name
            if origin.authorization is not None:
                headers[AUTHORIZATION] = origin.authorization
        return headers

    def _learn(self, grid: Grid, answer: Answer) -> None:
        text = answer.headers.get(HAVE)
        bits = unpack_map(text, len(grid)) if text else None
        if bits is not None:
            self.notes.learnt(self.member, grid, bits)
        if _COUNT.fullmatch(sending := answer.headers.get(SENDING, "")):
            self.notes.loaded(self.member, int(sending))


class _Stream:
    def __init__(self, answer: Answer, scope: CancelScope, source: PeerSource) -> None:
        self._answer, self._scope, self._source = answer, scope, source
        self._began, self._received = time.monotonic(), 0
        self._sharing = source.notes.sharing(source.member)

    def read(self, n: int, /) -> bytes:
        name = self._source.name
        with _given_up(name):
            self._scope.check()
            if self._source.lags(self._source.member, self._received * self._sharing, time.monotonic() - self._began):
                raise Unreachable(f"{name} is much slower than others")
            try:
                data = self._answer.read(n)
            except Broken as e:
                self._scope.check()
                raise Unreachable(f"{name}: {e}") from None
            self._received += len(data)
            return data

    def close(self) -> None:
        self._scope.cancel()


@contextmanager
def _given_up(name: str) -> Iterator[None]:
    try:
        yield
    except Cancelled:
        raise Unreachable(f"{name}: the connection was given up") from None


def _check_range(answer: Answer, grid: Grid, offset: int, length: int, name: str) -> None:
    """Raises `ProtocolViolation` for any other bytes than those that were asked for."""
    match = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if match is None or tuple(map(int, match.groups())) != (offset, offset + length - 1, grid.size):
        answer.close()
        raise ProtocolViolation(f"{name} sends another range than it was asked for", status=206)
