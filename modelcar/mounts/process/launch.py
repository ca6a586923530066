"""Start a mount that lives on its own."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import IO, BinaryIO, Final, cast

from modelcar.errors import UsageError, WorldError
from modelcar.mounts.plan import MountPlan
from modelcar.mounts.process.front import FRONTS
from modelcar.mounts.process.task import Task

__all__ = ["start", "start_mount"]

_NEEDED: Final = ("PATH", "HOME", "LANG", "LC_", "PYTHON", "LD_LIBRARY_PATH", "TMPDIR", "TZ")


def start_mount(
    plan: MountPlan,
    *,
    front: str,
    socket: Path,
    mount: str,
    target: Path,
    patience: float = 120.0,
    log: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Mount a plan at an existing folder and return when it can be read.

    The process is the supervisor: it does not end with its starter, but when the mount is gone; TERM makes it take the
    mount down. Its bytes come from the host that listens at `socket` and calls it `mount`. Raises `WorldError`, and
    `UsageError` for a folder that is none.

    Args:
        front: one of `FRONTS`.
        patience: seconds that a reader waits for bytes before it gets `EIO`.
        log: where the processes write what goes wrong.
    """
    if front not in FRONTS:
        raise UsageError(f"{front!r} is not a way to mount", hint=f"one of {', '.join(FRONTS)}")
    try:
        if not target.is_dir():
            raise UsageError(f"{target}: is not a folder", hint="make it, and mount again")
    except OSError as e:
        hint = f"modelcar umount {target}" if e.errno == errno.ENOTCONN else None
        raise WorldError(f"{target}: {e.strerror}", hint=hint) from None
    task = Task(
        front=front, target=str(target.resolve()), socket=str(socket.absolute()), mount=mount, patience=patience
    )
    command = [sys.executable, "-m", "modelcar.mounts.process.opener", task.to_argument()]
    return start(command, plan, log=log)


def start(command: list[str], plan: MountPlan, *, log: Path | None = None) -> subprocess.Popen[bytes]:
    """Run an opener. Raises `WorldError` with what it says."""
    with _memory(plan.to_json()) as given, open(log or os.devnull, "ab") as said:
        process = subprocess.Popen(
            command,
            env=_environment(),
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=said,
            start_new_session=True,
            cwd="/",
        )
    with cast(IO[bytes], process.stdout) as output:
        line = output.readline()
    if not line:
        raise WorldError(f"a mount ended with status {process.wait()} before it began", hint=_where(log))
    answer = json.loads(line)
    if "error" in answer:
        process.wait()
        raise WorldError(answer["error"], hint=answer["hint"])
    return process


def _memory(content: bytes) -> BinaryIO:
    file = os.fdopen(os.memfd_create("modelcar-plan"), "w+b")
    file.write(content)
    file.flush()
    return file


def _environment() -> dict[str, str]:
    """What an interpreter needs. The starter's may have credentials in it; before the kernel nobody needs them."""
    return {name: value for name, value in os.environ.items() if name.startswith(_NEEDED)}


def _where(log: Path | None) -> str | None:
    return f"{log} says more" if log else None
