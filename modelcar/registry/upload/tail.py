"""A blob that is sent while it is hashed: who reads it, who sends it, and how far one may be ahead of the other.

The sender follows the hasher closely, so that what it sends is still in the page cache and the disk is read once. It
waits for no digest but in the closing request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Condition
from typing import Final

from modelcar.layers.bytemap import FileSlice
from modelcar.oci import Digest
from modelcar.registry.cancel import Cancelled, current_scope
from modelcar.registry.upload.source import BlobSource, cut

__all__ = ["LEAD", "Tail", "behind"]

LEAD: Final = 64 << 20  # bytes that the hasher may be ahead of a sender that follows it
_STEP: Final = 1 << 20  # bytes that are waited for at once
_POLL: Final = 0.2  # seconds until a waiting sender looks whether it was cancelled


class Tail:
    """What hasher and sender of one blob share. The hasher runs free unless a sender follows."""

    def __init__(self, lead: int = LEAD, given_up: Callable[[], BaseException | None] = lambda: None) -> None:
        """`given_up` tells why there will be no sender, as far as there will be none."""
        self._given_up = given_up
        self._changed = Condition()
        self._lead = lead
        self._hashed = 0
        self._sent = 0
        self._follows = False
        self._digest: Digest | None = None
        self._abandoned = False
        self._for_good = False
        self._failure: BaseException | None = None
        self._ended = False

    # The hasher's side.

    def hashed(self, n: int) -> None:
        """So many more bytes are hashed."""
        with self._changed:
            self._hashed += n
            self._changed.notify_all()

    def has_room(self, timeout: float) -> bool:
        """Wait until the hasher may go on, at most `timeout` seconds; returns whether it may. Raises what the sender
        has failed with."""
        with self._changed:
            self._changed.wait_for(lambda: self._may_go_on() or self._failure is not None, timeout)
            if self._failure is not None:
                raise self._failure
            return self._may_go_on()

    def finish(self, digest: Digest) -> None:
        """All is hashed."""
        with self._changed:
            self._digest = digest
            self._changed.notify_all()

    def abandon(self, *, for_good: bool = False) -> None:
        """There will be no digest; the sender ends. Does nothing after `finish`.

        `for_good`: nobody will want these bytes later either, so their session need not stay open.
        """
        with self._changed:
            self._abandoned = self._digest is None
            self._for_good = self._for_good or (self._abandoned and for_good)
            self._changed.notify_all()

    def has_left(self, timeout: float) -> bool:
        """Wait until the sender has ended, at most `timeout` seconds; returns whether it has. Raises what it has failed
        with, or was given up for."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended, timeout)
            failure = self._failure or self._given_up()
            if failure is not None:
                raise failure
            return self._ended

    def _may_go_on(self) -> bool:
        return not self._follows or self._hashed - self._sent <= self._lead

    # The sender's side.

    @property
    def abandoned(self) -> bool:
        return self._abandoned

    @property
    def abandoned_for_good(self) -> bool:
        return self._for_good

    @property
    def known(self) -> Digest | None:
        """The digest, if all is hashed."""
        return self._digest

    def digest(self) -> Digest:
        """The digest, as soon as all is hashed; nothing holds the hasher back meanwhile."""
        self.let_go()
        self._wait(lambda: False)
        assert self._digest is not None  # noqa: S101  # nothing else ends the wait
        return self._digest

    def follow(self) -> None:
        """From now on the hasher stays near."""
        with self._changed:
            self._follows = True

    def let_go(self) -> None:
        """The hasher runs free again: the sender is elsewhere, or has ended."""
        with self._changed:
            self._follows = False
            self._changed.notify_all()

    def wait_for(self, offset: int) -> None:
        """Return when the first `offset` bytes are hashed."""
        self._wait(lambda: self._hashed >= offset)

    def sent(self, offset: int) -> None:
        with self._changed:
            self._sent = offset
            self._changed.notify_all()

    def fail(self, failure: BaseException) -> None:
        """The sender has ended with this."""
        with self._changed:
            self._failure = failure
            self._changed.notify_all()

    def end(self) -> None:
        """There is no sender any more: nothing holds the hasher back, and nobody reads the bytes."""
        with self._changed:
            self._follows, self._ended = False, True
            self._changed.notify_all()

    def _wait(self, reached: Callable[[], bool]) -> None:
        with self._changed:
            while not reached() and self._digest is None:
                if self._abandoned:
                    raise Cancelled
                if (scope := current_scope()) is not None:
                    scope.check()
                self._changed.wait(_POLL)


def behind(source: BlobSource, tail: Tail) -> BlobSource:
    """`source`, each byte of it as soon as it is hashed."""

    def pieces(offset: int, length: int) -> Iterator[bytes | FileSlice]:
        tail.sent(offset)  # by an earlier process, maybe: the hasher has to come this far
        for whole in source(offset, length):
            for piece in cut(whole, _STEP):
                offset += piece.size if isinstance(piece, FileSlice) else len(piece)
                tail.wait_for(offset)
                yield piece
                tail.sent(offset)

    return pieces
