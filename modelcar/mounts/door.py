"""Where the bytes of a mount come from, as the process before the kernel sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

__all__ = ["Answered", "Door"]

Answered = Callable[[int], None]
"""Called once, from any thread: 0, or the `errno` that the reader is to get."""


class Door(Protocol):
    """The blobs of one plan, by their numbers in it. Safe to use from several threads.

    A door outlives whoever is behind it: what was readable stays so while that is away, and what is asked for then is
    asked again when it is back, until a time limit makes it EIO.
    """

    def fileno(self, blob: int) -> int:
        """An open file that has the blob's bytes at their places, and means nothing where they are not readable. It
        stays open as long as the door; its content is never replaced under the same number. It is as long as the blob,
        and need not be writable."""

    def readable(self, blob: int, offset: int, length: int) -> bool:
        """Whether every byte of a range is here and verified, as far as this process knows. Never waits."""

    def ask(self, blob: int, offset: int, length: int, answered: Answered) -> None:
        """Somebody waits for a range: `answered(0)` when it is readable. Returns at once; may answer before it does."""

    def lost(self, blob: int) -> int:
        """0, or the `errno` for every further read of a blob that was revoked: pages of it that the kernel keeps are
        to be dropped."""

    def on_whole(self, told: Callable[[int], None]) -> None:
        """`told` is called with the number of a blob when every byte of it is readable, from any thread; for those that
        are so already, at once or soon. Once for each blob, or more often."""

    def on_lost(self, told: Callable[[int], None]) -> None:
        """`told` is called with the number of a blob when it is revoked, from any thread."""

    def close(self) -> None: ...
