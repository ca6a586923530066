"""`modelcar umount`."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import click

from modelcar.cli.mounting import place_of
from modelcar.cli.options import NAMED_PATH, output_options
from modelcar.cli.output import Output
from modelcar.errors import ModelcarError, NotFound, UsageError, WorldError
from modelcar.mounts.keeping import find_mount, lazy_root, socket_of
from modelcar.mounts.link.asking import ask
from modelcar.mounts.process.unmounting import Mounted, holder_of, mounted, unmount
from modelcar.mounts.records import MountRecord, Records
from modelcar.mounts.start_times import start_time
from modelcar.store import default_home

_ENDING: Final = 20.0  # seconds
_TELLING: Final = 5.0
_OURS: Final = "modelcar"
_NAMELESS: Final = "erofs"  # mounts of which only the records tell whose they are


@click.command("umount")
@click.argument("folder", type=NAMED_PATH, metavar="DIR")
@click.option("--lazy", is_flag=True, help="Even if it is in use: who has files open goes on, and nobody else comes.")
@output_options
def command(folder: Path, lazy: bool, output: Output) -> None:
    """Take a mounted model down.

    What was fetched is kept for the next mount; `--budget` of `modelcar mount` limits it.

    \b
      modelcar umount /mnt/llm
    """
    target = place_of(folder)
    root = lazy_root(default_home())
    record = find_mount(root, target)
    found = mounted(target)
    if record is None and (found is None or _OURS not in f"{found.kind} {found.source}"):
        raise _not_ours(folder, found)
    if found is not None:
        with suppress(NotFound):  # somebody else was faster
            unmount(target, lazy=lazy)
    if record is not None:
        if not lazy:
            _await_end(record, found.device if found is not None else None)
        _forget(root, record)
    output.document({"folder": str(target), "unmounted": True})
    output.line(f"unmounted {folder}")


def _not_ours(folder: Path, found: Mounted | None) -> UsageError:
    if found is None or found.kind != _NAMELESS:
        return UsageError(f"{folder} is not a mounted model", hint="`modelcar status` shows what is mounted")
    return UsageError(
        f"{folder}: what is mounted there ({found.kind}) was not mounted with this MODELCAR_HOME",
        hint="set MODELCAR_HOME as it was for `modelcar mount`; `umount` takes it down, whatever it is",
    )


def _await_end(record: MountRecord, device: str | None) -> None:
    """Until its processes are gone: then nothing of it is left."""
    deadline = time.monotonic() + _ENDING
    while record.supervisor is not None and start_time(record.supervisor[0]) == record.supervisor[1]:
        if time.monotonic() > deadline:
            raise _still_held(record, record.supervisor[0], device)
        time.sleep(0.02)


def _still_held(record: MountRecord, supervisor: int, device: str | None) -> WorldError:
    holder = holder_of(device) if device is not None else None
    if holder is None:
        return WorldError(
            f"{record.target} is unmounted, but process {supervisor}, which held it, does not end",
            hint=f"end the programs that still read from it; if there are none, `kill -9 {supervisor}`",
        )
    return WorldError(
        f"{record.target} is unmounted here, but process {holder} sees it in a mount namespace of its own",
        hint="it ends with the last of such processes; a container, for one, that was started while it was mounted",
    )


def _forget(root: Path, record: MountRecord) -> None:
    try:
        ask(socket_of(root), "remove", {"id": record.id}, within=_TELLING)
    except ModelcarError:  # there is no keeper, or it hangs: nobody else writes
        Records(root).remove(record.id)
