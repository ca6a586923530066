"""Hosts of mounts over caches whose sources are in memory, and doors to them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from modelcar.cache.cache import Cache
from modelcar.cache.origin import Origin
from modelcar.cache.settings import CacheSettings
from modelcar.lazy.scheduler import Scheduler
from modelcar.lazy.settings import FetchSettings
from modelcar.mounts.door import Door
from modelcar.mounts.host import MountHost
from modelcar.mounts.link.client import open_door
from modelcar.mounts.link.server import LinkServer
from modelcar.mounts.plan import MountPlan
from modelcar.mounts.plans import plan_image
from modelcar.mounts.records import MountRecord
from modelcar.store.layout import OciLayout
from tests.support.lazy_images import LazyImage, Places

FAST = FetchSettings(backoff=0.01, backoff_limit=0.05, attempts=3)
ORIGIN = Origin(registry="registry.example", repository="org/model")


class Node:
    """A host with all that it stands on, in one folder: `restart` is what another process would do."""

    def __init__(self, root: Path, places: Places) -> None:
        self.root, self.places = root, places
        self.socket = root / "host.sock"
        self.grace = 60.0
        self.scheduler: Scheduler
        self.cache: Cache
        self.host: MountHost
        self.server: LinkServer | None
        self.start()

    def start(self) -> None:
        self.scheduler = Scheduler(FAST)
        self.cache = Cache(
            self.root, OciLayout(self.root), self.scheduler, self.places, CacheSettings(linger=0.0, mismatch_pause=0.0)
        )
        self.host = MountHost(self.root, self.cache, grace=self.grace)
        self.server = LinkServer(self.socket, self.host)

    def stop(self) -> None:
        if self.server is not None:
            self.server.close()
            self.host.close()
            self.cache.close()
            self.scheduler.close()
            self.server = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def record(self, name: str = "m") -> MountRecord:
        return MountRecord(id=name, target=Path("/mnt/model"), origin=ORIGIN)

    def mount(self, image: LazyImage, name: str = "m") -> MountPlan:
        record = self.record(name)
        plan = plan_image("registry.example/org/model:v1", image.manifest, self.host.reading(record))
        self.host.add(record, plan)
        return plan

    def door(self, name: str = "m", *, limit: float = 30.0) -> Door:
        return open_door(self.socket, name, limit=limit)


@pytest.fixture
def places() -> Places:
    return Places()


@pytest.fixture
def node(tmp_path: Path, places: Places) -> Iterator[Node]:
    node = Node(tmp_path / "root", places)
    yield node
    node.stop()


def ask(door: Door, blob: int, offset: int, length: int, within: float = 30.0) -> int:
    """The errno, once it is answered."""
    said: list[int] = []
    done = Event()

    def answered(error: int) -> None:
        said.append(error)
        done.set()

    door.ask(blob, offset, length, answered)
    assert done.wait(within), f"bytes {offset}-{offset + length} of blob {blob} were not answered"
    assert len(said) == 1
    return said[0]


def read(door: Door, plan: MountPlan, path: str) -> bytes:
    """A file, as a process before the kernel reads it."""
    file = next(f for f in plan.files if f.path == path)
    if not door.readable(file.blob, file.offset, file.size):
        error = ask(door, file.blob, file.offset, file.size)
        if error:
            raise OSError(error, os.strerror(error))
        assert door.readable(file.blob, file.offset, file.size)
    return os.pread(door.fileno(file.blob), file.size, file.offset)


def read_all(door: Door, plan: MountPlan) -> dict[str, bytes]:
    return {file.path: read(door, plan, file.path) for file in plan.files}
