"""Finding the keeper of a root, and starting it where there is none."""

from __future__ import annotations

import os
import time
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

from modelcar.errors import StorageError
from modelcar.mounts.link.channel import connect
from modelcar.mounts.link.waking import start_program
from modelcar.mounts.records import MountRecord, Records
from modelcar.store.disk import explain, make_dirs

__all__ = ["MODULE", "await_keeper", "find_mount", "keeper_lives", "lazy_root", "socket_of", "start_keeper"]

MODULE: Final = ("-m", "modelcar.mounts.keeper")
"""How Python runs a keeper."""
_LOG_LIMIT: Final = 4 << 20  # bytes
_STARTING: Final = 30.0  # seconds
_LEAST: Final = 64 << 10  # bytes of disk that a keeper needs to begin


def lazy_root(home: Path) -> Path:
    """Where what is mounted lies, for a user's store under `home`."""
    return home / "lazy"


def socket_of(root: Path) -> Path:
    """Where the keeper of this root listens."""
    return root / "host.sock"


def keeper_lives(root: Path) -> bool:
    try:
        connect(socket_of(root)).close()
    except StorageError:
        return False
    return True


def start_keeper(root: Path) -> None:
    """Start a keeper unless there is one, and do not wait for it. Raises `StorageError`."""
    if keeper_lives(root):
        return
    log = root / "keeper.log"
    _make_usable(root, log)
    start_program([*MODULE, str(root)], log)


def _make_usable(root: Path, log: Path) -> None:
    """A keeper that has no room for its lock and its log cannot even say so."""
    make_dirs(root)
    if os.geteuid() not in (0, root.stat().st_uid):
        raise StorageError(f"{root} is another user's", hint="set MODELCAR_HOME to a folder of your own")
    try:
        root.chmod(0o700)
        if log.exists() and log.stat().st_size > _LOG_LIMIT:
            log.unlink()
        with TemporaryFile(dir=root, buffering=0) as file:
            file.write(bytes(_LEAST))
    except OSError as e:
        raise explain(e, f"cannot write to {root}") from None


def await_keeper(root: Path) -> Path:
    """Where the keeper that was started listens, once it does. Raises `StorageError`."""
    deadline = time.monotonic() + _STARTING
    while not keeper_lives(root):
        if time.monotonic() > deadline:
            raise StorageError(
                f"the process that fetches for mounts did not start in {_STARTING:.0f} s",
                hint=f"mend what {root / 'keeper.log'} says, and try again",
            )
        time.sleep(0.01)
    return socket_of(root)


def find_mount(root: Path, target: Path) -> MountRecord | None:
    """The mount at an absolute path, as far as is known here."""
    found = None
    for record, _ in Records(root).all():
        if record.target == target:
            found = record
    return found
