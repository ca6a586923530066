"""Python, the locale, and the folders that modelcar keeps things in."""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from modelcar import __version__
from modelcar.checkpoint.objects.source import cache_folder
from modelcar.doctor.finding import Finding, note, ok, problem
from modelcar.progress import human_size
from modelcar.store import LocalStore, default_home

__all__ = ["look_at_folders", "look_at_python"]

_FICLONE: Final = 0x40049409
_LITTLE: Final = 1 << 30  # bytes; with less than this no model is built, pulled or mounted


def look_at_python() -> Iterator[Finding]:
    """Which modelcar this is, and whether it can print what it has to say."""
    yield ok("modelcar", f"{__version__}, Python {platform.python_version()} at {sys.executable}")
    encoding = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "")
    if encoding == "utf8":
        yield ok("locale", "UTF-8")
    else:
        hint = "set LANG to a UTF-8 locale, such as C.UTF-8"
        yield note("locale", f"{encoding or 'none'}: names in other scripts are shown as escapes", hint)


def look_at_folders() -> Iterator[Finding]:
    """The local store, the cache, and temporary files: whether there is a place for them, how much room is there, and
    what the store holds."""
    home = default_home()
    yield from _folder("local store", home, "MODELCAR_HOME says where it lies")
    if (home / "store" / "oci-layout").exists():
        store = LocalStore(home)
        yield ok("images", f"{len(store.names.list())} in the local store")
    yield from _folder("cache", cache_folder(), "MODELCAR_OBJECTS_CACHE says where it lies")
    yield _temporary_files()
    existing = _existing(home)
    if existing.is_dir() and os.access(existing, os.W_OK):
        yield _reflinks(existing)


def _folder(subject: str, folder: Path, hint: str) -> Iterator[Finding]:
    existing = _existing(folder)
    if not existing.is_dir():
        yield problem(subject, f"{existing} is not a folder", hint)
        return
    if not os.access(existing, os.W_OK | os.X_OK):
        yield problem(subject, f"{folder}: you may not write there", hint)
        return
    free = shutil.disk_usage(existing).free
    words = f"{folder}, {human_size(free)} free" + ("" if existing == folder else "; it is made when it is needed")
    if free < _LITTLE:
        yield problem(subject, words, "`modelcar gc` frees what no image uses; or choose another disk: " + hint)
    else:
        yield ok(subject, words)


def _temporary_files() -> Finding:
    """A container whose root is read-only may have no folder for them."""
    subject = "temporary files"
    try:
        return ok(subject, tempfile.gettempdir())
    except OSError as e:
        return problem(subject, str(e.strerror), "mount a folder at /tmp, or let TMPDIR name one that you may write to")


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next((path for path in (folder, *folder.absolute().parents) if path.exists()), Path("/"))


def _reflinks(folder: Path) -> Finding:
    """Whether files can share their blocks where the store lies."""
    with tempfile.TemporaryFile(dir=folder) as one, tempfile.TemporaryFile(dir=folder) as other:
        one.write(bytes(4096))
        one.flush()
        try:
            fcntl.ioctl(other.fileno(), _FICLONE, one.fileno())
        except OSError:
            return note(
                "reflinks",
                f"the file system of {folder} has none: `export` and `archive` copy weights",
                "XFS and Btrfs have them",
            )
    return ok("reflinks", f"files share their blocks at {folder}")
