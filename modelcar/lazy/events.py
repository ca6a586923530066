"""What a scheduler tells whoever counts."""

from __future__ import annotations

from typing import Protocol

from modelcar.lazy.sources import Outcome, SourceKind

__all__ = ["UNHEARD", "FetchEvents"]


class FetchEvents(Protocol):
    """Called from fetch threads: be quick, and raise nothing."""

    def received(self, kind: SourceKind, size: int, seconds: float) -> None:
        """A chunk of `size` bytes came, was right and is on disk; `seconds` since it was asked for."""

    def ended(self, kind: SourceKind, outcome: Outcome, seconds: float) -> None:
        """A stream ended."""

    def hedged(self, kind: SourceKind) -> None:
        """A second source, of this kind, is asked for a chunk because the first takes long."""


class _Unheard:
    def received(self, kind: SourceKind, size: int, seconds: float) -> None: ...

    def ended(self, kind: SourceKind, outcome: Outcome, seconds: float) -> None: ...

    def hedged(self, kind: SourceKind) -> None: ...


UNHEARD = _Unheard()
