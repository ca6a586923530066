"""EROFS under the supervisor: what is opened once, and what every worker does."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Final

from modelcar.errors import StorageError
from modelcar.mounts.door import Door
from modelcar.mounts.erofs import guard, mounting
from modelcar.mounts.erofs.canary import prove
from modelcar.mounts.erofs.clones import private_clone
from modelcar.mounts.erofs.fanotify import Group
from modelcar.mounts.erofs.filler import Filler
from modelcar.mounts.erofs.image import metadata_image
from modelcar.mounts.plan import MountPlan
from modelcar.mounts.process.journal import Journal
from modelcar.mounts.process.pulse import Pulse

__all__ = ["ErofsFront", "asking_mount"]

READ_AHEAD: Final = 1024  # KiB; the default, 128, asks eight times as often


class ErofsFront:
    """A `Front`. It holds the fanotify group, as long as which is open readers wait and never see zeros, a pipe by
    which the guard learns that nobody else does, and a file with the names by which the kernel knows the mount."""

    fails_closed: Final = False

    def open(self, plan: MountPlan, connect: Callable[[], Door], target: Path) -> tuple[int, ...]:
        group, known = Group.create(), mounting.read_aheads()
        door = connect()
        try:
            with _files(door, plan) as files, asking_mount(group, metadata_image(plan), files) as mount:
                prove(group, mount, plan)
                alive = _guarded(group, mount, target)
                names = _names_in_memory(mounting.read_aheads() - known)
                mounting.attach(mount, target)
        except BaseException:
            group.close()
            raise
        finally:
            door.close()
        return group.fd, alive, names

    def is_over(self, held: tuple[int, ...]) -> bool:
        size = os.fstat(held[2]).st_size
        return mounting.has_gone(frozenset(os.pread(held[2], size, 0).decode().split()))

    def serve(
        self,
        held: tuple[int, ...],
        plan: MountPlan,
        door: Door,
        journal: Journal,
        target: Path,
        patience: float,
        pulse: Pulse,
    ) -> None:
        group, alive, _ = held
        filler = Filler(Group(group), journal, plan, door, target=target, patience=patience)
        pulse.follow(filler.busy)
        filler.run()
        os.write(alive, b".")  # the file system is gone


def _guarded(group: Group, mount: int, target: Path) -> int:
    """Start the guard; the writing end of its pipe."""
    device = Path(f"/proc/self/fd/{mount}").stat().st_dev
    place = [str(target), f"{os.major(device)}:{os.minor(device)}"]
    reading, writing = os.pipe()
    command = [sys.executable, "-I", "-S", guard.__file__, str(group.fd), str(reading), *place]
    nothing = subprocess.DEVNULL
    try:
        subprocess.run(
            command, pass_fds=(group.fd, reading), stdin=nothing, stdout=nothing, stderr=nothing, cwd="/", check=True
        )
    except (OSError, subprocess.CalledProcessError) as e:
        os.close(writing)
        raise StorageError(f"cannot start the guard of a mount: {e}") from None
    finally:
        os.close(reading)
    return writing


def _names_in_memory(names: frozenset[str]) -> int:
    """For workers: those of mounts that others made meanwhile may be among them, and then the last one counts."""
    file = os.memfd_create("modelcar-mount")
    os.write(file, " ".join(sorted(names)).encode())
    return file


@contextmanager
def asking_mount(group: Group, image: bytes, files: Sequence[int]) -> Iterator[int]:
    """A mount that is nowhere yet, whose blobs ask `group` and whose end it is told. Raises `StorageError`."""
    with ExitStack() as opened:

        def keep(descriptor: int) -> int:
            opened.callback(os.close, descriptor)
            return descriptor

        metadata = keep(_stored(image, files))
        group.watch_closing(metadata)
        clones = [keep(private_clone(file)) for file in files]
        for clone in clones:
            group.watch_mount(clone)
        known = mounting.read_aheads()
        mount = keep(mounting.mount_detached(metadata, clones))
        mounting.raise_read_ahead(known, READ_AHEAD)
        yield mount


@contextmanager
def _files(door: Door, plan: MountPlan) -> Iterator[list[int]]:
    """Of every blob. For one that is lost already, of which the host has no file, one with a hole of its size: workers
    do not know it, and say no when the kernel asks. Raises `StorageError`."""
    found = [door.fileno(blob) for blob in range(len(plan.blobs))]
    with ExitStack() as opened:
        for number, blob in enumerate(plan.blobs):
            if not _is_regular(found[number]):
                found[number] = _nameless(_beside(found))
                opened.callback(os.close, found[number])
                os.ftruncate(found[number], blob.size)
        yield found


def _stored(image: bytes, files: Sequence[int]) -> int:
    """The metadata image in a file without a name, beside the blobs: not every file system can hold what is mounted.

    It is open for writing, so that when this descriptor is closed nobody is told.
    """
    descriptor = _nameless(_beside(files))
    with open(descriptor, "wb", closefd=False) as file:
        file.write(image)
    return descriptor


def _beside(files: Sequence[int]) -> Iterator[Path]:
    """Where files without a name may lie, the best place first. The second is asked for only if the first will not do:
    a container may have none."""
    folders = (Path(f"/proc/self/fd/{file}").readlink().parent for file in files if _is_regular(file))
    yield from islice(folders, 1)
    yield Path(tempfile.gettempdir())


def _is_regular(file: int) -> bool:
    return stat.S_ISREG(os.fstat(file).st_mode)


def _nameless(folders: Iterable[Path]) -> int:
    problem = ""
    for folder in folders:
        try:
            return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as e:
            problem = f"{folder}: cannot hold a file without a name: {e.strerror}"
    raise StorageError(problem)
