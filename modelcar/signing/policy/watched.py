"""Policies in files that change while they are held to."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar

from modelcar.errors import ModelcarError, StorageError
from modelcar.signing.policy.policyset import PolicySet, parse, read_files

__all__ = ["Versioned", "Watched", "read_policies"]

_NOTHING: Final = PolicySet()


class Versioned(Protocol):
    """What was read at one time."""

    @property
    def version(self) -> str:
        """A digest over every file; what was decided by another version is decided anew."""


T = TypeVar("T", bound=Versioned)


class Watched(Generic[T]):
    """What `read` makes of files. Call `open` first, and `refresh` now and then; readers take `page` at any time.

    Attributes:
        page: how all of it stood when it was last read well.
        problem: why the files of now cannot be read; those of before hold meanwhile.
    """

    def __init__(self, empty: T, read: Callable[[], T], log: logging.Logger) -> None:
        self.page = empty
        self.problem: str | None = None
        self._read = read
        self._log = log

    def open(self) -> None:
        """Read everything.

        Raises:
            UsageError: something is not what it should be.
            NotFound, StorageError: a file is not there, or cannot be read.
        """
        self.page = self._read()

    def refresh(self) -> bool:
        """Read what has changed; returns whether anything has. What cannot be read leaves all as it was: a slip in a
        file opens nothing."""
        try:
            page = self._read()
        except ModelcarError as e:
            problem = f"{e} — {e.hint}" if e.hint else str(e)
            if problem != self.problem:
                self._log.error("policies are not read again, those of before hold: %s", problem)
            self.problem = problem
            return False
        self.problem = None
        if page.version == self.page.version:
            return False
        self._log.info("policies have changed: version %s", page.version[:12])
        self.page = page
        return True


def read_policies(paths: Sequence[Path], version: hashlib._Hash) -> PolicySet:
    """The policies in files and folders, whose names and content go into `version`; none for no paths.

    Raises:
        UsageError, NotFound, StorageError: as `Watched.open`.
    """
    if not paths:
        return _NOTHING
    try:
        files = read_files(paths)
    except OSError as e:
        raise StorageError(f"cannot read {e.filename or 'a policy'}: {e.strerror}") from None
    for name, content in files:
        version.update(f"{name}\0{len(content)}\0".encode())
        version.update(content)
    return parse(files)
