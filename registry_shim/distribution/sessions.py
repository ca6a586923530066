"""Upload sessions: content on its way in, over as many requests as the client likes. They live in memory."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from modelcar.oci import Digest
from modelcar.serving.messages import Body
from modelcar.serving.threads import in_thread
from modelcar.store.base import Store, Writer

__all__ = ["BusySession", "Session", "Sessions", "TooManySessions", "UnknownSession"]

_BATCH = 1 << 20  # bytes that one hop to another thread is worth
_log = logging.getLogger("registry_shim")


class TooManySessions(Exception):
    def __init__(self) -> None:
        super().__init__("too many uploads are open; finish or cancel some")


class BusySession(Exception):
    def __init__(self) -> None:
        super().__init__("another request is writing to this upload; try again")


class UnknownSession(Exception):
    def __init__(self) -> None:
        super().__init__("no such upload here; it may have been finished, cancelled, or idle for too long")


class Session:
    """One blob being uploaded to one repository. `lock` keeps its requests one after the other."""

    def __init__(self, repository: str, store: Store) -> None:
        self.id = secrets.token_urlsafe(24)
        self.repository = repository
        self.lock = asyncio.Lock()
        self.touched = time.monotonic()
        self._store = store
        self._writer: Writer | None = None

    @property
    def size(self) -> int:
        """Bytes received so far."""
        return self._writer.size if self._writer else 0

    async def receive(self, body: Body, expected: Digest | None = None) -> None:
        """Append `body`. While one batch is hashed and written by a thread, the next one is read from the socket.

        What was written before a failure stays, so a client that was cut off can go on from `size`.
        `expected` says which hash to compute, if it is known before the first byte.

        Raises:
            ClientGone: the body ended early.
            StorageError: the store cannot take it; the session is of no use any more.
        """
        writing: asyncio.Task[None] | None = None
        try:
            async for batch in body.batches(_BATCH):
                self.touched = time.monotonic()
                if writing is not None:
                    await writing
                writing = asyncio.create_task(in_thread(self._append, batch, expected))
        finally:
            if writing is not None:
                await writing
            self.touched = time.monotonic()

    def _append(self, batch: Sequence[bytes], expected: Digest | None) -> None:
        writer = self._begin(expected)
        for piece in batch:
            writer.write(piece)

    def _begin(self, expected: Digest | None) -> Writer:
        if self._writer is None:
            self._writer = self._store.begin(expected)
        return self._writer

    def commit(self, digest: Digest) -> None:
        """Check and publish what was received. Blocks."""
        self._begin(digest).commit(digest)

    def abort(self) -> None:
        """Forget what was received. Blocks."""
        if self._writer is not None:
            self._writer.abort()


class Sessions:
    """The open sessions, at most `limit` of them; `reap` drops those that nobody has used for `idle_seconds`."""

    def __init__(self, store: Store, *, idle_seconds: float = 3600, limit: int = 1000, patience: float = 10) -> None:
        self._store = store
        self._idle_seconds = idle_seconds
        self._limit = limit
        self._patience = patience
        self._sessions: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, repository: str) -> Session:
        if len(self._sessions) >= self._limit:
            raise TooManySessions
        session = Session(repository, self._store)
        self._sessions[session.id] = session
        return session

    def find(self, repository: str, session_id: str) -> Session:
        """Raises `UnknownSession`."""
        session = self._sessions.get(session_id)
        if session is None or session.repository != repository:
            raise UnknownSession
        return session

    @asynccontextmanager
    async def using(self, repository: str, session_id: str) -> AsyncIterator[Session]:
        """This session, for one request alone.

        Raises:
            UnknownSession
            BusySession: another request has held it for too long, perhaps one whose client is gone.
        """
        session = self.find(repository, session_id)
        try:
            await asyncio.wait_for(session.lock.acquire(), self._patience)
        except TimeoutError:
            raise BusySession from None
        try:
            yield self.find(repository, session_id)  # again: whoever held the lock before may have finished it
        finally:
            session.lock.release()

    async def discard(self, session: Session) -> None:
        """Forget a session, finished or not. Nobody may be writing to it."""
        if self._sessions.pop(session.id, None) is None:
            return
        try:
            await in_thread(session.abort)
        except OSError as e:  # of no concern to the client; the next start removes it
            _log.warning("cannot remove what an upload left behind: %s", e)

    async def reap(self) -> int:
        """Discard idle sessions; returns how many."""
        now = time.monotonic()
        idle = [s for s in self._sessions.values() if not s.lock.locked() and now - s.touched > self._idle_seconds]
        for session in idle:
            await self.discard(session)
        return len(idle)

    async def close(self) -> None:
        for session in list(self._sessions.values()):
            await self.discard(session)
