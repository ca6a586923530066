"""Which sources are worth asking for a chunk of one blob, after what happened before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from modelcar.backoff import Backoff
from modelcar.errors import (
    Forbidden,
    InvalidContent,
    ModelcarError,
    ProtocolViolation,
    RemoteNotFound,
    Unauthorized,
    WorldError,
)
from modelcar.lazy.settings import FetchSettings
from modelcar.lazy.sources import ChunkSource, SourceKind
from modelcar.oci import Digest

__all__ = ["Standing"]

_FINAL: Final = (Unauthorized, Forbidden, RemoteNotFound)  # asking again at once would change nothing
_LESSER: Final = (
    RemoteNotFound,
    ProtocolViolation,
)  # of one source, where another might have had it, and sent it right


@dataclass(slots=True)
class _Source:
    failures: int = 0
    failed_at: float = 0.0
    rests_until: float = 0.0
    banned: bool = False
    error: ModelcarError | None = None


@dataclass(slots=True)
class _Chunk:
    slow: set[str] = field(default_factory=set)
    missing_until: dict[str, float] = field(default_factory=dict)
    abandoned: int = 0
    wrong: Digest | None = None


class Standing:
    """Not safe to use from several threads. Times are seconds of the monotonic clock."""

    def __init__(self, settings: FetchSettings) -> None:
        self._settings = settings
        self._backoff = Backoff(settings.backoff, settings.backoff_limit, spread=0.5)
        self._sources: dict[str, _Source] = {}
        self._chunks: dict[int, _Chunk] = {}
        self._renewed = 0.0

    def forget(self, now: float) -> None:
        """Everyone gets another chance, except those who sent wrong bytes."""
        self._sources = {name: s for name, s in self._sources.items() if s.banned}
        self._chunks.clear()
        self._renewed = now

    def renew(self, now: float) -> None:
        """There is more to ask with than before `now`: who refused what was asked before may be asked again."""
        self._sources = {n: s for n, s in self._sources.items() if s.banned or not isinstance(s.error, _FINAL)}
        self._renewed = now

    def choose(
        self, candidates: Sequence[ChunkSource], number: int, now: float
    ) -> tuple[ChunkSource | None, ModelcarError | None]:
        """Whom to ask for a chunk; nobody yet if all rest, and the error to end with if nobody is left."""
        chunk = self._chunks.get(number)
        slow: ChunkSource | None = None
        rests = False
        error: ModelcarError | None = None
        for candidate in candidates:
            source = self._sources.get(candidate.name)
            if source is not None and (source.banned or source.rests_until > now):
                gone = source.banned or source.failures >= self._settings.attempts
                rests = rests or not gone
                error = source.error if error is None or isinstance(error, _LESSER) else error
            elif chunk is not None and chunk.missing_until.get(candidate.name, 0.0) > now:
                rests = True
            elif chunk is not None and candidate.name in chunk.slow:
                slow = slow or candidate
            else:
                return candidate, None
        if slow is not None or rests:
            return slow, None
        return None, error or WorldError("there is nobody to ask for this blob")

    def distrust(self, name: str, error: ModelcarError) -> None:
        """Never ask a source."""
        state = self._sources.setdefault(name, _Source())
        state.banned, state.error = True, error

    def did_well(self, source: ChunkSource, number: int) -> None:
        """It brought a chunk."""
        self._chunks.pop(number, None)
        state = self._sources.get(source.name)
        if state is not None and not state.banned:
            del self._sources[source.name]

    def broke(self, source: ChunkSource, error: ModelcarError, began: float, now: float) -> None:
        """A stream that `began` then failed. Several that break together are one failure, and a refusal of what was
        asked with other credentials is none."""
        if began < self._renewed and isinstance(error, _FINAL):
            return
        state = self._sources.setdefault(source.name, _Source())
        state.error = error
        if began < state.failed_at:
            return
        state.failures = self._settings.attempts if isinstance(error, _FINAL) else state.failures + 1
        state.failed_at, state.rests_until = now, now + self._backoff.after(state.failures)

    def has_not(self, source: ChunkSource, number: int, error: ModelcarError, began: float, now: float) -> None:
        """It has not this chunk. An upstream will not have it later either, a peer may."""
        if source.kind is SourceKind.PEER:
            chunk = self._chunks.setdefault(number, _Chunk())
            chunk.missing_until[source.name] = now + self._backoff.after(2)
        else:
            self.broke(source, error, began, now)

    def was_slow(self, source: ChunkSource, number: int) -> None:
        """Its stream was given up: others are asked first."""
        chunk = self._chunks.setdefault(number, _Chunk())
        chunk.slow.add(source.name)
        chunk.abandoned += 1

    def abandoned(self, number: int) -> int:
        """How many streams were given up for being slow with a chunk."""
        chunk = self._chunks.get(number)
        return chunk.abandoned if chunk else 0

    def lied(
        self, source: ChunkSource, number: int, found: Digest, error: ModelcarError, began: float, now: float
    ) -> InvalidContent | None:
        """It sent wrong bytes. A peer or mirror is not asked again. The upstream is, once: if it sends the same bytes
        again, they are the blob's, and the table is wrong; that is the error to end with."""
        wrong = ProtocolViolation(f"{source.name}: {error}")
        if source.kind is not SourceKind.UPSTREAM:
            self.distrust(source.name, wrong)
            return None
        chunk = self._chunks.setdefault(number, _Chunk())
        if chunk.wrong == found:
            return InvalidContent(
                f"{error}, and {source.name} sends other ones every time",
                hint="the model index of this image does not describe its layers: the image was made or altered badly",
            )
        is_first, chunk.wrong = chunk.wrong is None, found
        self.broke(source, wrong, began, now)
        if is_first:  # many at once may be wrong: only the second coming of one tells whether the table is
            state = self._sources[source.name]
            state.failures = min(state.failures, max(1, self._settings.attempts - 1))
        return None
