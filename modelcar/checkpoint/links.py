"""Where a chain of symbolic links leads, checked hop by hop."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from modelcar.checkpoint.formats.reader import printable
from modelcar.errors import SourceError, UnsafePath

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["resolve_link"]

_MAX_HOPS = 40  # as many as the kernel follows


def resolve_link(link: Path, path: str, allowed: Callable[[Path], bool]) -> tuple[Path, ...]:
    """The places that the symbolic link `link` leads to, in order; the last one is a regular file.

    Args:
        link: absolute; its folder has no links in it.
        path: how messages call it.
        allowed: whether a link of this checkpoint may lead to an absolute path whose folder has no links in it.

    Raises:
        UnsafePath: it leads outside, to a folder, to something special, or in a circle.
        SourceError: it leads to nothing.
    """
    hops: list[Path] = []
    current = link
    for _ in range(_MAX_HOPS):
        current = _next_place(current, path)
        if not allowed(current):
            raise UnsafePath(
                f"the link {printable(path, 200)} leads to {current}, outside the checkpoint",
                hint="replace the link by the file, or package the folder that holds both",
            )
        hops.append(current)
        mode = _mode_of(current, path)
        if stat.S_ISREG(mode):
            return tuple(hops)
        if stat.S_ISDIR(mode):
            raise UnsafePath(
                f"the link {printable(path, 200)} leads to the folder {current}, which would be packaged twice",
                hint="remove the link, or replace it by the folder itself",
            )
        if not stat.S_ISLNK(mode):
            raise UnsafePath(
                f"the link {printable(path, 200)} leads to {current}, which is not a regular file",
                hint="remove the link",
            )
    raise UnsafePath(f"the link {printable(path, 200)} leads in a circle", hint="remove the link")


def _next_place(link: Path, path: str) -> Path:
    """Where `link` points, its folder resolved and its last part not."""
    try:
        target = link.parent / link.readlink()
        name = target.name
        if name in ("", ".."):
            return target.resolve(strict=True)
        return target.parent.resolve(strict=True) / name
    except (OSError, RuntimeError):
        raise _dangling(path, os.fspath(link)) from None


def _mode_of(place: Path, path: str) -> int:
    try:
        return place.lstat().st_mode
    except OSError:
        raise _dangling(path, os.fspath(place)) from None


def _dangling(path: str, place: str) -> SourceError:
    return SourceError(
        f"the link {printable(path, 200)} leads to nothing, at {place}",
        hint="download the model again, or remove the link",
    )
