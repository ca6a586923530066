"""ROOT/control.sock: who may open it may administer the node, and that is its owner alone."""

from __future__ import annotations

import os
import secrets
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from modelcar.errors import StorageError
from modelcar.store.disk import explain

__all__ = ["CONTROL", "control_listener", "socket_path"]

CONTROL: Final = "control.sock"
_BACKLOG: Final = 64


@contextmanager
def control_listener(root: Path) -> Iterator[socket.socket]:
    """A listening socket at ROOT/control.sock, mode 0600; a dead shim's is replaced. `root` must be ours alone.

    Raises:
        StorageError: it cannot be created, or something else has its name.
    """
    path = root / CONTROL
    _check_free(path)
    name = f".{CONTROL}.{secrets.token_hex(6)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener, _folder(root) as folder:
        try:
            listener.bind(socket_path(folder, name))
            (root / name).chmod(0o600)  # nobody can connect before it listens
            listener.listen(_BACKLOG)
            made = (root / name).stat()
            (root / name).rename(path)
        except OSError as e:
            raise explain(e, f"cannot create {path}") from None
        finally:
            with suppress(OSError):
                (root / name).unlink()
        try:
            yield listener
        finally:
            with suppress(OSError):
                if path.stat().st_ino == made.st_ino:
                    path.unlink()


def socket_path(folder: int, name: str) -> str:
    """A name for a socket in an open folder: a socket's own path may have but 107 bytes."""
    return f"/proc/self/fd/{folder}/{name}"


@contextmanager
def _folder(root: Path) -> Iterator[int]:
    try:
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as e:
        raise explain(e, f"cannot open {root}") from None
    try:
        yield fd
    finally:
        os.close(fd)


def _check_free(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as e:
        raise explain(e, f"cannot look at {path}") from None
    if not stat.S_ISSOCK(mode):
        raise StorageError(f"{path} is in the way: it is no socket", hint="move it elsewhere")
