"""What space is given: the cache whose room it keeps, and who counts."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from modelcar.oci import Digest

__all__ = ["Content", "Observer", "Unobserved"]


class Content(Protocol):
    """The cache, as far as space goes. Safe to use from any thread."""

    def leased(self) -> Collection[Digest]:
        """Blobs that are in use or on their way."""

    def evict(self, digest: Digest) -> bool:
        """Remove what is here of a blob, whole or not; `False`, at once, if it is in use and stays. Raises
        `StorageError`."""


class Observer(Protocol):
    """Who counts. Called from any thread."""

    def evicted(self, size: int) -> None:
        """A blob or manifest of `size` bytes went."""

    def refused(self, size: int) -> None:
        """There was no room for `size` bytes."""


class Unobserved:
    """Nobody counts."""

    def evicted(self, size: int) -> None:
        pass

    def refused(self, size: int) -> None:
        pass
