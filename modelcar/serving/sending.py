"""Sending files without copying them: threads for clients that keep up, the event loop for those that do not.

One loop alone is bound to one core, and stands still while the disk is read. A thread alone belongs to its client, and
slow clients would take them all. So a thread sends as long as the socket takes it, and hands a client that has to be
waited for back to the loop.
"""

from __future__ import annotations

import asyncio
import os
import select
import time
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import IO, Final

from modelcar.errors import StorageError
from modelcar.layers.bytemap import FileSlice
from modelcar.serving.exchange import Meter

__all__ = ["FileSender"]

_THREADS: Final = 8
_LOOP_STEP: Final = 1 << 18
_LARGEST_LOOP_STEP: Final = 1 << 20  # for clients that take as much soon, and still not as fast as a thread sends
_SOON: Final = 1.0
_THREAD_STEP: Final = 1 << 24
_PATIENCE: Final = 0.005  # seconds that a thread spends waiting for room in a socket, all in all, before it gives up


class FileSender:
    """Sends ranges of open files over the loop's connections."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, "serving-send")

    def close(self) -> None:
        self._threads.shutdown(wait=True)

    async def send(self, transport: asyncio.Transport, piece: FileSlice, meter: Meter, stall_seconds: float) -> None:
        """Send all of `piece` over a connection without TLS; nobody else may write to `transport` meanwhile.

        A client that takes less than a step of the loop in `stall_seconds` is dropped.

        Raises:
            StorageError: the file is shorter than promised.
            TimeoutError: the client takes nothing.
            OSError: it is gone.
            SendfileNotAvailableError: it is gone, or the kernel does not send from this file; `read` does.
        """
        sent, step = 0, _LOOP_STEP
        with open(piece.fd, "rb", buffering=0, closefd=False) as file:  # noqa: ASYNC230  # it is open
            while sent < piece.size:
                began = time.monotonic()
                with meter.pace.waiting():
                    async with asyncio.timeout(stall_seconds):
                        n = await self._by_loop(transport, file, piece, sent, step)
                room = True
                meter.add(n)
                sent += n
                while room and sent < piece.size:
                    n, room = await self._by_thread(transport, piece, sent)
                    meter.add(n)
                    sent += n
                keeps_up = time.monotonic() - began < _SOON
                step = min(step * 2, _LARGEST_LOOP_STEP) if keeps_up else _LOOP_STEP

    async def read(self, piece: FileSlice) -> AsyncGenerator[bytes, None]:
        """The bytes of `piece` in steps, for a connection that encrypts them. Raises `StorageError` as `send` does."""
        done = 0
        while done < piece.size:
            wanted = min(_LOOP_STEP, piece.size - done)
            source = os.dup(piece.fd)  # the thread's own, as in `_by_thread`
            job = asyncio.get_running_loop().run_in_executor(self._threads, _pull, source, piece.offset + done, wanted)
            data = await asyncio.shield(job)
            if not data:
                raise _too_short()
            done += len(data)
            yield data

    async def _by_loop(
        self, transport: asyncio.Transport, file: IO[bytes], piece: FileSlice, sent: int, step: int
    ) -> int:
        """Flush what the transport holds, and send one step, however long the client takes."""
        if transport.is_closing():
            raise ConnectionResetError
        wanted = min(step, piece.size - sent)
        loop = asyncio.get_running_loop()
        # Its own fallback reads at the position of the open file, which all who read the blob share: wrong bytes.
        n = await loop.sendfile(transport, file, piece.offset + sent, wanted, fallback=False)
        if n != wanted:
            raise _too_short()
        return n

    async def _by_thread(self, transport: asyncio.Transport, piece: FileSlice, sent: int) -> tuple[int, bool]:
        """Send while there is room; returns how much that was, and whether there is room for more."""
        if transport.is_closing():
            raise ConnectionResetError
        with _not_reading(transport):
            # The thread's own descriptors: it may outlive a cancelled request, and their numbers be reused by then.
            to, source = _duplicates(transport.get_extra_info("socket").fileno(), piece.fd)
            count = min(_THREAD_STEP, piece.size - sent)
            job = asyncio.get_running_loop().run_in_executor(
                self._threads, _push, to, source, piece.offset + sent, count
            )
            return await asyncio.shield(job)


@contextmanager
def _not_reading(transport: asyncio.Transport) -> Iterator[None]:
    """As the loop's own sendfile does it: a client that closes its side early still gets the rest."""
    reading = transport.is_reading()
    transport.pause_reading()
    try:
        yield
    finally:
        if reading:
            transport.resume_reading()


def _duplicates(first: int, second: int) -> tuple[int, int]:
    copy = os.dup(first)
    try:
        return copy, os.dup(second)
    except OSError:
        os.close(copy)
        raise


def _push(to: int, source: int, offset: int, count: int) -> tuple[int, bool]:
    done = 0
    patience = _PATIENCE
    try:
        room = select.poll()
        room.register(to, select.POLLOUT)
        while done < count:
            try:
                n = os.sendfile(to, source, offset + done, count - done)
            except BlockingIOError:
                began = time.monotonic()
                room.poll(patience * 1000)
                patience -= time.monotonic() - began
                if patience <= 0:
                    return done, False
                continue
            if n == 0:
                raise _too_short()
            done += n
        return done, True
    finally:
        os.close(to)
        os.close(source)


def _pull(source: int, offset: int, count: int) -> bytes:
    try:
        return os.pread(source, count, offset)
    finally:
        os.close(source)


def _too_short() -> StorageError:
    return StorageError("a stored file is shorter than it was when it came in")
