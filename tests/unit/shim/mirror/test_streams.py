"""A blob that is sent while it arrives, and questions that many ask at once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from modelcar.errors import StorageError, Unreachable
from modelcar.layers.bytemap import FileSlice
from modelcar.lazy.grid import Grid
from modelcar.oci import Digest
from registry_shim.mirror.flights import Flights
from registry_shim.mirror.streams import LeaseStream, Promise

CONTENT = bytes(range(256)) * 40


class Arriving:
    """A lease of a blob, of which as much is here as the test says."""

    def __init__(self, folder: Path) -> None:
        self.grid = Grid.plain(Digest.of(CONTENT), len(CONTENT))
        self.here = 0
        self.needed: list[tuple[int, int]] = []
        self.closed = 0
        self._waiting: list[tuple[int, Future[None]]] = []
        self._path = folder / "blob"
        self._path.write_bytes(CONTENT)
        self._fd = os.open(self._path, os.O_RDONLY)

    def available(self, offset: int) -> int:
        return max(0, self.here - offset)

    def need(self, offset: int, length: int) -> None:
        self.needed.append((offset, length))

    def when(self, offset: int, length: int) -> Future[None]:
        future: Future[None] = Future()
        self._waiting.append((offset + length, future))
        self.arrive(self.here)
        return future

    def arrive(self, here: int) -> None:
        self.here = here
        for stop, future in self._waiting:
            if stop <= here and not future.done():
                future.set_result(None)

    def fail(self, error: Exception) -> None:
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(error)

    def slice(self, offset: int, length: int) -> FileSlice:
        assert self.closed == 0
        assert offset + length <= self.here
        return FileSlice(path=self._path, fd=self._fd, offset=offset, size=length)

    def close(self) -> None:
        if not self.closed:
            os.close(self._fd)
        self.closed += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


@pytest.fixture
def lease(tmp_path: Path) -> Iterator[Arriving]:
    lease = Arriving(tmp_path)
    yield lease
    lease.close()


def test_it_is_sent_as_it_arrives(lease: Arriving) -> None:
    async def read() -> bytes:
        stream = LeaseStream(lease, 10, 5000)
        assert stream.size == 5000
        asyncio.get_running_loop().call_soon(lease.arrive, 11)
        await stream.begin()
        received = bytearray()
        async for piece in stream.pieces():
            assert isinstance(piece, FileSlice)
            received += os.pread(piece.fd, piece.size, piece.offset)
            asyncio.get_running_loop().call_soon(lease.arrive, min(lease.here + 1000, len(CONTENT)))
        return bytes(received)

    assert asyncio.run(read()) == CONTENT[10:5010]
    assert lease.needed[0] == (10, 5000)
    assert all(offset + length == 5010 for offset, length in lease.needed)  # what is here is not asked for again
    assert lease.closed


def test_what_goes_wrong_before_the_first_byte_is_raised_there(lease: Arriving) -> None:
    async def begin() -> None:
        asyncio.get_running_loop().call_soon(lease.fail, Unreachable("gone"))
        await LeaseStream(lease, 0, 10).begin()

    with pytest.raises(Unreachable):
        asyncio.run(begin())
    assert lease.closed


def test_who_leaves_gives_the_blob_back(lease: Arriving) -> None:
    async def leave() -> None:
        lease.arrive(100)
        pieces = LeaseStream(lease, 0, 5000).pieces()
        await anext(pieces)
        await pieces.aclose()

    asyncio.run(leave())
    assert lease.closed


def test_even_before_it_began(lease: Arriving) -> None:
    async def never() -> None:
        lease.arrive(100)
        await LeaseStream(lease, 0, 50).begin()

    asyncio.run(never())
    assert lease.closed


def test_a_promise_is_not_kept() -> None:
    async def read() -> None:
        async for _ in Promise(10).pieces():
            raise AssertionError

    assert Promise(10).size == 10
    with pytest.raises(StorageError):
        asyncio.run(read())


class Question:
    """Answers with how often it was put; `failures` times it fails."""

    def __init__(self, failures: int = 0) -> None:
        self.put = 0
        self.failures = failures
        self.answer = asyncio.Event()

    async def __call__(self) -> int:
        self.put += 1
        mine = self.put
        await self.answer.wait()
        if mine <= self.failures:
            raise Unreachable("no")
        return mine


async def _together(question: Question, flights: Flights, n: int) -> list[object]:
    asked = [asyncio.ensure_future(flights.once("key", question)) for _ in range(n)]
    await asyncio.sleep(0)
    question.answer.set()
    return await asyncio.gather(*asked, return_exceptions=True)


def test_a_question_is_put_once() -> None:
    async def run() -> None:
        question, flights = Question(), Flights()
        assert await _together(question, flights, 5) == [1] * 5
        assert await flights.once("key", question) == 2  # nothing is remembered
        await flights.close()

    asyncio.run(run())


def test_a_failure_is_nobodys_but_the_first_askers() -> None:
    async def run() -> None:
        question, flights = Question(failures=1), Flights()
        first, *others = await _together(question, flights, 5)
        assert isinstance(first, Unreachable)
        assert others == [2] * 4

    asyncio.run(run())


def test_an_answer_outlives_who_asked_for_it() -> None:
    async def run() -> None:
        question, flights = Question(), Flights()
        impatient = asyncio.ensure_future(flights.once("key", question))
        await asyncio.sleep(0)
        patient = asyncio.ensure_future(flights.once("key", question))
        await asyncio.sleep(0)
        impatient.cancel()
        question.answer.set()
        assert await patient == 1
        with pytest.raises(asyncio.CancelledError):
            await impatient

    asyncio.run(run())
