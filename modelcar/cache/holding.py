"""What leases stand on: a whole blob of the store, or one that arrives."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from modelcar.cache.origins import Origins
from modelcar.errors import ModelcarError, SizeMismatch, StorageError
from modelcar.layers.bytemap import FileSlice
from modelcar.lazy.grid import Grid
from modelcar.lazy.partial import PartialBlob
from modelcar.lazy.transfer import Transfer
from modelcar.store.disk import explain

__all__ = ["Arriving", "Holding", "Whole"]

_DONE: Final[Future[None]] = Future()
_DONE.set_result(None)


class Holding(Protocol):
    """Shared by its leases, whom the cache counts. See `Lasting` for what is not said here."""

    grid: Grid
    lost: Future[ModelcarError]

    @property
    def present(self) -> int: ...

    def available(self, offset: int) -> int: ...

    def need(self, offset: int, length: int, who: object, *, again: bool) -> None:
        """`again`: `who` was told of a failure, and wants it tried once more."""

    def prefer(self, ranges: Sequence[tuple[int, int]], who: object) -> None: ...

    def leave(self, who: object) -> None: ...

    def when(self, offset: int, length: int) -> Future[None]: ...

    def slice(self, offset: int, length: int) -> FileSlice: ...

    def condemn(self, error: ModelcarError) -> None:
        """From now on all that is asked of it fails with `error`. What was sliced stays open."""

    def close(self) -> None: ...


class Whole:
    """A blob of the store. Its open file outlives the blob's removal."""

    def __init__(self, path: Path, grid: Grid) -> None:
        self.grid = grid
        self.lost: Future[ModelcarError] = Future()
        self._path = path
        self._error: ModelcarError | None = None
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as e:
            raise explain(e, f"cannot read {path}") from None
        found = os.fstat(self._fd)
        if found.st_size != grid.size or not stat.S_ISREG(found.st_mode):
            os.close(self._fd)
            raise SizeMismatch(f"{grid.digest} has {found.st_size} bytes where {grid.size} were promised")

    @property
    def present(self) -> int:
        return self.grid.size

    def available(self, offset: int) -> int:
        return 0 if self._error else max(0, self.grid.size - offset)

    def need(self, offset: int, length: int, who: object, *, again: bool) -> None:
        """It is here."""

    def prefer(self, ranges: Sequence[tuple[int, int]], who: object) -> None:
        """It is here."""

    def leave(self, who: object) -> None:
        """Nothing was asked for."""

    def when(self, offset: int, length: int) -> Future[None]:
        self.grid.numbers(offset, length)
        future: Future[None] = Future()
        if self._error:
            future.set_exception(self._error)
        else:
            future.set_result(None)
        return future

    def slice(self, offset: int, length: int) -> FileSlice:
        if self._error:
            raise self._error
        self.grid.numbers(offset, length)
        return FileSlice(path=self._path, fd=self._fd, offset=offset, size=length)

    def condemn(self, error: ModelcarError) -> None:
        self._error = error
        with suppress(InvalidStateError):
            self.lost.set_result(error)

    def close(self) -> None:
        os.close(self._fd)
        self._fd = -1


class Arriving:
    """A blob on its way, or one that came but is not in the store yet."""

    def __init__(self, partial: PartialBlob, origins: Origins) -> None:
        self.grid = partial.grid
        self.partial = partial
        self.origins = origins
        self.transfer: Transfer  # set by who makes both
        self.verified: Future[None] = Future()
        """Done once the whole has its digest."""
        self.error: ModelcarError | None = None
        self.lost: Future[ModelcarError] = Future()

    @property
    def present(self) -> int:
        return self.partial.present

    def available(self, offset: int) -> int:
        if self._refusal:
            return 0
        here = self.partial.available(offset)
        if self.grid.verifiable or self.verified.done():
            return here
        return max(0, min(here, self._held_back - offset))

    def need(self, offset: int, length: int, who: object, *, again: bool) -> None:
        if self.error is None:
            self.transfer.need(offset, length, who)
            if again:
                self.transfer.revive()

    def prefer(self, ranges: Sequence[tuple[int, int]], who: object) -> None:
        if self.error is None:
            self.transfer.prefer(ranges, who)

    def leave(self, who: object) -> None:
        self.transfer.leave(who)

    def when(self, offset: int, length: int) -> Future[None]:
        here = self.partial.when(offset, length)
        if self.grid.verifiable:
            return here
        return _then(here, lambda: _DONE if 0 < length <= self._held_back - offset else self.verified)

    def slice(self, offset: int, length: int) -> FileSlice:
        if error := self._refusal:
            raise error
        if length > self.available(offset):
            raise StorageError(f"bytes {offset}-{offset + length - 1} of {self.grid.digest} are not here yet")
        return FileSlice(path=self.partial.folder / "data", fd=self.partial.fileno(), offset=offset, size=length)

    def condemn(self, error: ModelcarError) -> None:
        self.error = error
        self.partial.fail(error)
        with suppress(InvalidStateError):  # what was verified before stays so, and is shown no more
            self.verified.set_exception(error)
        with suppress(InvalidStateError):
            self.lost.set_result(error)

    def close(self) -> None:
        self.partial.close()

    @property
    def _refusal(self) -> ModelcarError | None:
        """Who waited hears of wrong content a moment before `condemn` does; nothing may be read in between."""
        return self.error or self.partial.refusal

    @property
    def _held_back(self) -> int:
        """From here on nothing of a blob without a chunk table is shown before all of it was found right: not what a
        peer sent, which may be anything, and not the end."""
        last = min(len(self.grid) - 1, self.partial.before_doubts)
        return self.grid.bounds(last)[0] if len(self.grid) else 0


def _then(first: Future[None], second: Callable[[], Future[None]]) -> Future[None]:
    """Done when both are, failed when either is. `second` is asked for when the first is done."""
    result: Future[None] = Future()

    def tell(done: Future[None]) -> None:
        if result.set_running_or_notify_cancel():
            error = done.exception()
            if error is None:
                result.set_result(None)
            else:
                result.set_exception(error)

    def go_on(done: Future[None]) -> None:
        if done.exception() is None:
            second().add_done_callback(tell)
        else:
            tell(done)

    first.add_done_callback(go_on)
    return result
