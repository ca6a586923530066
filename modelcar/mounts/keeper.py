"""A host for machines without a shim: a cache, a `MountHost`, and nothing else.

`python -m modelcar.mounts.keeper ROOT` runs one; the first mount starts it, and it ends a while after the last one.
There is one for each root, which holds `ROOT/keeper.lock` while it lives; `ask` speaks with it at `ROOT/host.sock`.
"""

from __future__ import annotations

import argparse
import fcntl
import logging
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

from modelcar.cache.cache import Cache
from modelcar.cache.settings import CacheSettings
from modelcar.cache.status import BlobState
from modelcar.errors import InvalidDocument, ModelcarError, StorageError
from modelcar.lazy.scheduler import Scheduler
from modelcar.mounts.host import MountHost
from modelcar.mounts.keeping import MODULE, socket_of
from modelcar.mounts.link.server import LinkServer
from modelcar.mounts.link.waking import forget_how, tell_how
from modelcar.mounts.plans import plan_image
from modelcar.mounts.preparing import Preparing
from modelcar.mounts.process.unmounting import mounted, unmount
from modelcar.mounts.records import MountRecord, Records
from modelcar.mounts.room import Room
from modelcar.mounts.sources import Remotes
from modelcar.oci import Descriptor, Digest, Manifest
from modelcar.store.disk import explain, make_dirs
from modelcar.store.layout import OciLayout

__all__ = ["IDLE", "Keeper", "main", "take_down"]

IDLE: Final = 60.0  # seconds without a mount after which a keeper ends
_LINGER: Final = 30.0  # seconds that a blob goes on arriving after its last mount
_TICK: Final = 0.5
_KINDS: Final = ("erofs", "fuse.modelcar")  # of mounts of ours
_LOG = logging.getLogger(__name__)


class Keeper:
    """Answers commands. `closing` is set when it is to end."""

    def __init__(self, root: Path, *, idle: float = IDLE, budget: int | None = None) -> None:
        """Raises `StorageError` if another one lives, or the disk fails."""
        self._root, self._idle = root, idle
        self.closing = threading.Event()
        self._stack = ExitStack()
        with ExitStack() as stack:
            make_dirs(root)
            root.chmod(0o700)
            stack.callback(os.close, _lock(root / "keeper.lock"))
            self._remotes = Remotes()
            stack.callback(self._remotes.close)
            scheduler = Scheduler()
            stack.callback(scheduler.close)
            layout = OciLayout(root)
            self._cache = Cache(
                root,
                layout,
                scheduler,
                self._remotes,
                CacheSettings(linger=_LINGER),
                make_room=self._make_room,
            )
            self._preparing = Preparing(self._present)
            self._room = Room(root, layout, self._cache.evict, self._coming, budget)
            stack.callback(self._cache.close)
            self._learn(root)
            self._host = MountHost(root, self._cache, orphaned=take_down)
            stack.callback(self._host.close)
            self._server = LinkServer(socket_of(root), self._host, self._answer)
            stack.callback(self._server.close)
            tell_how(socket_of(root), [*MODULE, str(root), "--idle", str(idle)])
            self._stack = stack.pop_all()

    def run(self) -> None:
        """Until it is to end, or has nothing to do for long."""
        last = time.monotonic()
        while not self.closing.wait(_TICK):
            if self._host.mounts():
                last = time.monotonic()
            elif time.monotonic() - last > self._idle:
                break
        if not self._host.mounts():
            forget_how(socket_of(self._root))

    def close(self) -> None:
        self._stack.close()

    def _answer(self, verb: str, document: dict[str, Any]) -> dict[str, Any]:
        try:
            match verb:
                case "mount":
                    return self._mount(document)
                case "started":
                    self._host.started(str(document["id"]), int(document["pid"]), str(document["front"]))
                    return {}
                case "remove":
                    self._preparing.stop(str(document["id"]))
                    self._host.remove(str(document["id"]))
                    return {}
                case "free":
                    return {"freed": self._room.free()}
                case "preparing":
                    return self._preparing.to_dict()
                case "status":
                    return self._host.status(str(document["id"])).to_dict()
                case "mounts":
                    return {"mounts": {name: str(r.target) for name, r in self._host.mounts().items()}}
                case _:
                    raise InvalidDocument(f"a keeper does not know {verb!r}")
        except (KeyError, TypeError, ValueError) as e:
            raise InvalidDocument(f"{verb}: {type(e).__name__}: {e}") from None

    def _mount(self, document: dict[str, Any]) -> dict[str, Any]:
        record = MountRecord.from_dict(str(document["id"]), document)
        manifest = Manifest.parse(str(document["manifest"]).encode(), str(document["mediaType"]))
        if manifest.digest != Digest.parse(str(document["digest"])):
            raise InvalidDocument(f"the manifest of {record.id} is not {document['digest']}")
        if (budget := document.get("budget")) is not None:
            self._room.budget = int(budget)
        self._remotes.know(record.origin.registry, record.network)
        reference = str(document["reference"])
        with self._preparing.image(record, reference, manifest, self._host.reading(record)) as reading:
            plan = plan_image(reference, manifest, reading)
            reading.check()
            path = self._host.add(record, plan)
        for blob in plan.blobs:
            self._room.used(blob.digest)
        return {"plan": str(path), "size": plan.size, "files": len(plan.files), "indexed": plan.index is not None}

    def _present(self, blob: Descriptor) -> int:
        if self._cache.contains(blob.digest):
            return blob.size
        return max((status.present for status in self._cache.status() if status.digest == blob.digest), default=0)

    def _learn(self, root: Path) -> None:
        """How the registries of mounts that go on are reached."""
        for record, _ in Records(root).all():
            self._remotes.know(record.origin.registry, record.network)

    def _make_room(self, digest: Digest, size: int) -> None:
        self._room.make(digest, size)

    def _coming(self) -> int:
        states = (BlobState.ARRIVING, BlobState.PARKED, BlobState.FAILED)
        return sum(s.size - s.present for s in self._cache.status() if s.state in states)


def take_down(record: MountRecord) -> None:
    """A mount whose processes are all gone: nothing answers for what the kernel would show there."""
    with suppress(ModelcarError, OSError):
        found = mounted(record.target)
        if found is not None and found.kind in _KINDS:
            unmount(record.target, lazy=True, device=found.device)
            _LOG.warning("the processes of the mount at %s were killed; it is taken down", record.target)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="modelcar-keeper")
    parser.add_argument("root", type=Path)
    parser.add_argument("--idle", type=float, default=IDLE)
    parser.add_argument("--budget", type=int)
    chosen = parser.parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s", level=logging.INFO)
    _raise_limits()
    try:
        keeper = Keeper(chosen.root, idle=chosen.idle, budget=chosen.budget)
    except StorageError as e:
        _LOG.error("%s", e)
        return e.exit_status
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: keeper.closing.set())
    try:
        keeper.run()
    finally:
        keeper.close()
    return 0


def _lock(path: Path) -> int:
    """Locked, as long as the descriptor is open. Raises `StorageError` if somebody else holds it."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as e:
        raise explain(e, f"cannot open {path}") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise StorageError(f"a keeper of {path.parent} is running already") from None
    os.truncate(fd, 0)
    os.write(fd, b"%d\n" % os.getpid())  # for people
    return fd


def _raise_limits() -> None:
    """A blob of a mount is an open file or two."""
    with suppress(ValueError, OSError):
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    status = main(sys.argv[1:])
    logging.shutdown()
    os._exit(status)  # threads that wait for a network are not waited for
