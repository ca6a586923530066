"""Sockets with a name in the file system."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from modelcar.errors import StorageError
from modelcar.store.disk import explain

__all__ = ["at", "private_listener"]

_LONGEST: Final = 107  # bytes of a socket's name
_BACKLOG: Final = 64


def at(path: Path, action: Callable[[str], object]) -> None:
    """Bind or connect to a path, which may be longer than the name of a socket. Raises OSError."""
    if len(os.fsencode(path)) <= _LONGEST:
        action(os.fspath(path))
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        action(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


@contextmanager
def private_listener(path: Path) -> Iterator[socket.socket]:
    """A listening stream socket that only its owner may connect to, from its first moment; at the end it goes.

    A dead process's is replaced, and a living one's never.

    Raises:
        StorageError: it cannot be made, something else has its name, or another process listens there.
    """
    aside = path.with_name(f".{path.name}.new")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        try:
            _check_free(path)
            aside.unlink(missing_ok=True)
            os.fchmod(listener.fileno(), 0o600)  # before it has a name: there is no moment in which others may
            at(aside, listener.bind)
            listener.listen(_BACKLOG)
            made = aside.stat().st_ino
            aside.rename(path)
        except OSError as e:
            raise explain(e, f"cannot listen at {path}") from None
        try:
            yield listener
        finally:
            with suppress(OSError):
                if path.stat().st_ino == made:
                    path.unlink()


def _check_free(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise StorageError(f"{path} is in the way: it is no socket", hint="move it elsewhere")
    if _answers(path):
        raise StorageError(f"another process listens at {path}", hint="end it, or choose another place")


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # one that is too busy to be asked lives, too
        try:
            at(path, probe.connect)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return True
