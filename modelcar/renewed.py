"""What was made from files (a certificate, a list of tokens), and is made anew when they change."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Generic, TypeVar

from modelcar.errors import ModelcarError
from modelcar.files import stamps_of

__all__ = ["Renewed"]

T = TypeVar("T")

_LOOK_SECONDS: Final = 1.0
_log = logging.getLogger("modelcar.renewed")


class Renewed(Generic[T]):
    """What `make` makes of `files`; `name` is for the log.

    A change that cannot be used (half of a pair that is being replaced, a file that is gone for a moment) leaves what
    was before, is logged once, and is tried again until it can. Safe to share between threads.

    Raises:
        ModelcarError: `make` does, at first.
    """

    def __init__(
        self, name: str, make: Callable[[], T], files: Iterable[Path], *, look_seconds: float = _LOOK_SECONDS
    ) -> None:
        self._name = name
        self._look_seconds = look_seconds
        self._lock = threading.Lock()
        self._take(make, files)

    def adopt(self, make: Callable[[], T], files: Iterable[Path]) -> None:
        """Go by these files from now on. Raises what `make` does, and changes nothing then."""
        with self._lock:
            self._take(make, files)

    def current(self) -> T:
        """As the files are now, or were a second ago. One caller looks at them; the others do not wait for it."""
        if self._files and time.monotonic() >= self._next_look and self._lock.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._lock.release()
        return self._value

    def _take(self, make: Callable[[], T], files: Iterable[Path]) -> None:
        files = tuple(files)
        seen = stamps_of(files)  # before they are read: a change meanwhile is found by the next look
        self._value = make()
        self._make, self._files, self._seen = make, files, seen
        self._problem: str | None = None
        self._next_look = time.monotonic() + self._look_seconds

    def _look(self) -> None:
        self._next_look = time.monotonic() + self._look_seconds
        seen = stamps_of(self._files)
        if seen == self._seen:
            return
        try:
            self._value = self._make()
        except ModelcarError as e:
            if str(e) != self._problem:
                _log.error("%s not renewed, and counts as it was: %s", self._name, e)
            self._problem = str(e)
        else:
            self._seen, self._problem = seen, None
            _log.info("%s read again from %s", self._name, ", ".join(map(str, self._files)))
