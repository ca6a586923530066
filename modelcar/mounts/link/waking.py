"""Starting a host that is away, where it has said how: a keeper lives on no service manager."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from modelcar.errors import StorageError
from modelcar.store.disk import explain

__all__ = ["forget_how", "start_program", "tell_how", "waker"]

_NAME: Final = "host.json"
_PAUSE: Final = 5.0  # seconds between two tries


def tell_how(socket: Path, arguments: Sequence[str]) -> None:
    """Whoever misses the host at `socket` may run Python with these arguments. Raises `StorageError`."""
    path = socket.with_name(_NAME)
    temporary = path.with_suffix(".new")
    try:
        temporary.write_text(json.dumps(list(arguments)))
        temporary.rename(path)
    except OSError as e:
        raise explain(e, f"cannot write {path}") from None


def forget_how(socket: Path) -> None:
    """The host ends on purpose: nobody needs it."""
    with suppress(OSError):
        socket.with_name(_NAME).unlink()


def waker(socket: Path) -> Callable[[], None]:
    """Starts the host of `socket` again, every now and then; does nothing for one that has not said how."""
    lock = threading.Lock()
    last = -_PAUSE

    def wake() -> None:
        nonlocal last
        with lock:
            if time.monotonic() - last < _PAUSE:
                return
            last = time.monotonic()
        path = socket.with_name(_NAME)
        with suppress(OSError, ValueError, StorageError):
            if path.stat().st_uid == os.geteuid():
                start_program(json.loads(path.read_text()))

    return wake


def start_program(arguments: Sequence[str], log: Path | None = None) -> subprocess.Popen[bytes]:
    """Run Python with these arguments in a session of its own; what it says goes to `log`. Raises `StorageError`."""
    try:
        with open(log or os.devnull, "ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-P", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd="/",
            )
    except OSError as e:
        raise explain(e, "cannot start a process of our own") from None
    threading.Thread(target=process.wait, name="child", daemon=True).start()  # no zombie stays
    return process
