"""Upload sessions, as the dialects have them. They live in memory: a restart loses them, as a fault may."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from modelcar.testing.registry.contents import Contents
from modelcar.testing.registry.counters import Counters, Fate
from modelcar.testing.registry.messages import Asked, Lost, Refused, error
from modelcar.testing.registry.profiles import Profile, Sharing

__all__ = ["Session", "Sessions"]


@dataclass(slots=True)
class Session:
    """One blob on its way. `pieces` and `last` are how many PATCH requests came, and the size of the latest
    that came to its end."""

    repository: str
    file: Path
    replica: int
    began: float = field(default_factory=time.monotonic)
    size: int = 0
    pieces: int = 0
    last: int = 0
    closed: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)
    name: str = field(default_factory=lambda: secrets.token_hex(8))
    signature: str = field(default_factory=lambda: secrets.token_hex(16))


class Sessions:
    """Safe to use from several threads."""

    def __init__(self, profile: Profile, contents: Contents, counters: Counters) -> None:
        self._profile, self._contents, self._counters = profile, contents, counters
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}

    def open(self, repository: str, replica: int) -> Session:
        session = Session(repository, self._contents.new_file(), replica)
        session.file.touch()
        with self._lock:
            self._sessions[session.name] = session
        return session

    def find(self, name: str, asked: Asked, replica: int) -> Session:
        """The session that a request means, as the replica that got it sees it. Raises `Refused`."""
        with self._lock:
            session = self._sessions.get(name)
        if session is None or not self._knows(session, asked.method, replica) or self._is_late(session):
            raise Refused(error(404, "BLOB_UPLOAD_UNKNOWN"))
        if self._profile.signed_location and asked.query.get("_state") != session.signature:
            raise Refused(error(403, "DENIED"))
        return session

    def forget(self, name: str | None = None, fate: Fate = Fate.LOST) -> None:
        """End one session, or all; their bytes come to this end."""
        with self._lock:
            names = list(self._sessions) if name is None else [name]
            ended = [self._sessions.pop(n) for n in names if n in self._sessions]
        for session in ended:
            session.file.unlink(missing_ok=True)
            self._counters.ended_as(fate, session.size)

    def finish(self, session: Session) -> None:
        with self._lock:
            self._sessions.pop(session.name, None)

    def append(self, session: Session, asked: Asked, elapsed: Callable[[], float]) -> None:
        """Take a body into the session. What came before it broke stays, where the dialect keeps that."""
        profile, before = self._profile, session.size
        complete = lost = False
        try:
            with session.file.open("r+b") as file:
                file.seek(session.size)
                for block in asked.body.blocks():
                    file.write(block)
                    session.size += len(block)
                    if profile.request_seconds is not None and elapsed() > profile.request_seconds:
                        raise Refused(error(504, "UNKNOWN"))
                    if self._is_late(session):
                        self.forget(session.name)
                        raise Refused(error(404, "BLOB_UPLOAD_UNKNOWN"))
                    if profile.layer_limit is not None and session.size > profile.layer_limit:
                        raise Refused(error(413, "SIZE_INVALID"))
            complete = True
            session.last = session.size - before
        except Lost:
            lost = True  # with all that came
            raise
        except FileNotFoundError:
            raise Refused(error(404, "BLOB_UPLOAD_UNKNOWN")) from None
        finally:
            if not complete and profile.loses_cut:
                self.forget(session.name)
            elif not complete and not lost and not profile.keeps_cut:
                self._counters.ended_as(Fate.UNKEPT, session.size - before)
                session.size = before

    def _knows(self, session: Session, method: str, replica: int) -> bool:
        if self._profile.sharing is Sharing.ALL or session.replica == replica:
            return True
        if self._profile.sharing is Sharing.NOTHING:
            return False
        return method != "PATCH" or session.pieces == 0

    def _is_late(self, session: Session) -> bool:
        limit = self._profile.upload_seconds
        return limit is not None and time.monotonic() - session.began > limit
