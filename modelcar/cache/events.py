"""What the cache tells whoever counts."""

from __future__ import annotations

from typing import Protocol

from modelcar.cache.lease import Purpose

__all__ = ["UNHEARD", "CacheEvents"]


class CacheEvents(Protocol):
    """Called from any thread: be quick, and raise nothing."""

    def leased(self, purpose: Purpose, *, whole: bool) -> None:
        """Somebody asked for a blob; `whole` is a hit."""

    def committed(self, size: int) -> None:
        """A blob of `size` bytes came, was found right and is in the store."""

    def refused(self) -> None:
        """All of a blob came, and it was not what its digest says."""

    def scrubbed(self, size: int) -> None:
        """`size` bytes of a whole blob were read again and are right."""

    def quarantined(self, size: int) -> None:
        """A whole blob of `size` bytes was damaged and is gone; the next pull fetches it anew."""


class _Unheard:
    def leased(self, purpose: Purpose, *, whole: bool) -> None: ...

    def committed(self, size: int) -> None: ...

    def refused(self) -> None: ...

    def scrubbed(self, size: int) -> None: ...

    def quarantined(self, size: int) -> None: ...


UNHEARD = _Unheard()
