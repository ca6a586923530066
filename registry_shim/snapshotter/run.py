"""The snapshotter as a process: its folder, its socket, and the signals that end it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelcar.errors import StorageError, UsageError
from modelcar.serving.signals import Stop, handled
from modelcar.serving.sockets import private_listener
from modelcar.store.disk import explain as explain_disk
from modelcar.store.disk import lock, make_dirs
from registry_shim.operations.notify import notify
from registry_shim.snapshotter.grpc import connection_factory
from registry_shim.snapshotter.images import Images
from registry_shim.snapshotter.layers import Layers
from registry_shim.snapshotter.mounter import LayerMounter
from registry_shim.snapshotter.records import Records
from registry_shim.snapshotter.service import explain, handlers
from registry_shim.snapshotter.snapshotter import Snapshotter

__all__ = ["SnapshotterSettings", "listening", "opened", "overlay_options", "run", "serving"]

_RECORDS: Final = "snapshots.db"
_THREADS: Final = 64  # each may wait some seconds for a mount
_LONGEST_SOCKET: Final = 107  # bytes: it may be bound at any path, but containerd connects by the whole of it


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotterSettings:
    """Raises UsageError for what cannot be.

    Attributes:
        root: the folder of its snapshots; on a file system that overlayfs can write to.
        socket: where containerd reaches it.
    """

    root: Path
    socket: Path

    def __post_init__(self) -> None:
        if not self.root.is_absolute() or not self.socket.is_absolute():
            raise UsageError("containerd needs absolute paths", hint="--state /var/lib/… --socket /run/…")
        if not self.socket.name:
            raise UsageError(f"{self.socket} names no socket", hint="/run/modelcar-snapshotter/snapshotter.sock")
        if set(",:\\") & set(str(self.root)):
            raise UsageError(f"{self.root}: overlay mounts take no comma, colon or backslash in a path")
        if len(os.fsencode(self.socket)) > _LONGEST_SOCKET:
            raise UsageError(
                f"{self.socket} is too long a path for a socket", hint="/run/modelcar-snapshotter/snapshotter.sock"
            )


def run(settings: SnapshotterSettings, mounter: LayerMounter, *, ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT; mounts stay. `ready` is called once containerd may connect.

    Raises:
        StorageError: the folder or the socket cannot be used, or is used by another.
    """
    with opened(settings.root, mounter) as snapshotter:
        asyncio.run(serving(settings.socket, snapshotter, ready))


@contextmanager
def opened(root: Path, mounter: LayerMounter) -> Iterator[Snapshotter]:
    """The snapshotter over `root`, which is this process's alone; what a killed predecessor left is removed.

    Raises:
        StorageError: it cannot be used.
    """
    with ExitStack() as stack:
        make_dirs(root)
        try:
            _require_own(root)
            root.chmod(0o700)  # what containers hold is theirs; they come by mounts
            stack.enter_context(lock(root, exclusive=True, blocking=False))
        except OSError as e:
            raise explain_disk(e, f"cannot use {root}") from None
        records = stack.enter_context(Records(root / _RECORDS))
        images = Images(mounter)
        stack.callback(images.close)
        snapshotter = Snapshotter(records, Layers(root, overlay_options()), images)
        snapshotter.recover()
        yield snapshotter


def _require_own(root: Path) -> None:
    """Nobody else's folder is closed to everybody but us: `/` would be the end of a node."""
    entries = {path.name for path in root.iterdir()}
    if _RECORDS not in entries and entries - {"lost+found"}:
        raise StorageError(f"{root} holds other things than snapshots", hint="name a new or an empty folder")


async def serving(place: Path, snapshotter: Snapshotter, ready: Callable[[], None]) -> None:
    """Answer at `place` until a signal comes. Raises `StorageError` if that cannot be."""
    loop, stop = asyncio.get_running_loop(), Stop()
    with (
        ThreadPoolExecutor(_THREADS, thread_name_prefix="calls") as threads,
        handled(stop),
        listening(place) as listener,
    ):
        factory = connection_factory(handlers(snapshotter), explain, threads)
        server = await loop.create_unix_server(factory, sock=listener)
        ready()
        notify("READY=1")
        await stop.asked.wait()
        notify("STOPPING=1")
        server.close()


def overlay_options() -> tuple[str, ...]:
    """What overlay mounts need here: no index, since lower layers are shared; in a user namespace, its own xattrs."""
    options = ["index=off"] if Path("/sys/module/overlay/parameters/index").exists() else []
    with suppress(OSError):
        if Path("/proc/self/uid_map").read_text().split() != ["0", "0", "4294967295"]:
            options.append("userxattr")
    return tuple(options)


@contextmanager
def listening(place: Path) -> Iterator[socket.socket]:
    """A socket for root alone. Raises StorageError, as `private_listener`."""
    make_dirs(place.parent)
    with private_listener(place) as listener:
        yield listener
