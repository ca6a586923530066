"""The one kind of lease there is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from types import TracebackType
from typing import Self

from modelcar.cache.holding import Holding
from modelcar.errors import ModelcarError, StorageError
from modelcar.layers.bytemap import FileSlice
from modelcar.lazy.grid import Grid

__all__ = ["Loan"]


class Loan:
    """See `Lasting`. `give_back` is called once, with the loan. Unless it `fetches`, what is needed is not fetched."""

    def __init__(self, grid: Grid, *, fetches: bool = True) -> None:
        self.grid = grid
        self._fetches = fetches
        self._told = False  # of a failure, since something was needed
        self._holding: Holding | None = None
        self._give_back: Callable[[Loan], None] = lambda _: None
        self._lock = threading.Lock()

    def begin(self, holding: Holding, give_back: Callable[[Loan], None]) -> Self:
        self._holding, self._give_back = holding, give_back
        return self

    def available(self, offset: int) -> int:
        return self._open.available(offset)

    def need(self, offset: int, length: int) -> None:
        if self._fetches:
            again, self._told = self._told, False
            self._open.need(offset, length, self, again=again)

    def prefer(self, ranges: Sequence[tuple[int, int]]) -> None:
        if self._fetches:
            self._open.prefer(ranges, self)

    def when(self, offset: int, length: int) -> Future[None]:
        answer: Future[None] = Future()
        self._open.when(offset, length).add_done_callback(partial(self._pass_on, answer))
        return answer

    def slice(self, offset: int, length: int) -> FileSlice:
        return self._open.slice(offset, length)

    @property
    def present(self) -> int:
        return self._open.present

    @property
    def lost(self) -> Future[ModelcarError]:
        return self._open.lost

    def close(self) -> None:
        with self._lock:
            holding, self._holding = self._holding, None
        if holding is not None:
            self._give_back(self)

    def _pass_on(self, answer: Future[None], done: Future[None]) -> None:
        """Heard here first: who is told of a failure may ask again at once, and has it tried again."""
        if not answer.set_running_or_notify_cancel():
            return
        error = done.exception()
        if error is None:
            answer.set_result(None)
        else:
            self._told = True
            answer.set_exception(error)

    @property
    def _open(self) -> Holding:
        holding = self._holding
        if holding is None:
            raise StorageError(f"the lease of {self.grid.digest} is closed")
        return holding

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
