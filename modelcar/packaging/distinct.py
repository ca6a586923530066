"""Paths that a file system must tell apart: macOS and Windows ignore case, and some the form of Unicode."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from modelcar.checkpoint.names import folded
from modelcar.errors import UsageError

__all__ = ["DistinctPaths", "require_distinct"]

_TRIED: Final = 16  # names that may be one: a file system that takes any for one took two of so many for one before


def require_distinct(paths: Iterable[str], scratch: Path) -> None:
    """Raise `UsageError` if the file system of the folder `scratch` takes two of the relative `paths` for one."""
    distinct = DistinctPaths(scratch)
    for path in paths:
        distinct.add(path)


class DistinctPaths:
    """The paths that are about to be written below one folder; from any thread.

    No rule says which names a file system takes for one, so those that may be are tried out, in `scratch`, which is a
    folder of it.
    """

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._names: dict[tuple[str, str], dict[str, None]] = {}

    def add(self, path: str) -> None:
        """Remember `path`, relative, and its folders.

        Raises:
            UsageError: the file system takes one of them for another path that was added.
        """
        parent = ""
        for name in path.split("/"):
            alike = self._names.setdefault((parent, folded(name)), {})
            if name not in alike:
                alike[name] = None  # before the others are looked at: of two threads, one at least sees the other's
                for other in list(alike)[:_TRIED]:
                    if other != name and self._are_one(other, name):
                        first, second = os.path.join(parent, other), os.path.join(parent, name)  # noqa: PTH118  # paths of the image, not of this machine
                        raise UsageError(
                            f"{first!r} and {second!r} of the image are one file here: "
                            "this file system ignores case or the form of Unicode",
                            hint="name a folder on one that tells them apart",
                        )
            parent = f"{parent}/{name}" if parent else name

    def _are_one(self, one: str, other: str) -> bool:
        with TemporaryDirectory(prefix="names-", dir=self._scratch) as scratch:
            (Path(scratch) / one).touch()
            return os.path.lexists(Path(scratch) / other)
