"""The keeper: one a folder, answers what is asked, and ends when nobody needs it. And the room that it keeps."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelcar.errors import InvalidDocument, NoSpace, NotFound, RemoteNotFound, StorageError, Unreachable
from modelcar.mounts import room
from modelcar.mounts.keeper import Keeper
from modelcar.mounts.keeping import find_mount, keeper_lives, socket_of
from modelcar.mounts.link.asking import ask
from modelcar.mounts.link.client import open_door
from modelcar.mounts.plan import MountPlan
from modelcar.mounts.room import Room
from modelcar.mounts.sources import Remotes, client_settings, network_of
from modelcar.oci import Digest
from modelcar.registry import ClientSettings
from modelcar.store.layout import OciLayout
from tests.support.lazy_images import LazyImage, layout_of, lazy_image, mount_request
from tests.support.waiting import eventually
from tests.unit.mounts.conftest import read, read_all

pytestmark = pytest.mark.slow


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "lazy"


@pytest.fixture
def keeper(root: Path) -> Iterator[Keeper]:
    keeper = Keeper(root)
    yield keeper
    keeper.close()


@pytest.fixture
def image() -> LazyImage:
    return lazy_image()


@pytest.fixture
def layout(tmp_path: Path, image: LazyImage) -> Path:
    return layout_of(image, tmp_path / "layout")


def test_a_model_is_mounted_told_of_and_taken_down(keeper: Keeper, root: Path, image: LazyImage, layout: Path) -> None:
    socket = socket_of(root)
    answer = ask(socket, "mount", mount_request(image, layout))
    plan = MountPlan.parse(Path(answer["plan"]).read_bytes())
    assert answer["size"] == plan.size == sum(map(len, image.files.values()))
    door = open_door(socket, "m")
    assert read_all(door, plan) == image.files
    ask(socket, "started", {"id": "m", "pid": os.getpid(), "front": "fuse"})
    assert ask(socket, "mounts", {}) == {"mounts": {"m": "/mnt/llm"}}
    record = find_mount(root, Path("/mnt/llm"))
    assert record is not None
    assert (record.id, record.front) == ("m", "fuse")
    eventually(lambda: ask(socket, "status", {"id": "m"})["present"] == plan.size, "all of it comes")
    ask(socket, "remove", {"id": "m"})
    assert find_mount(root, Path("/mnt/llm")) is None
    with pytest.raises(NotFound, match="there is no mount m"):
        ask(socket, "status", {"id": "m"})
    door.close()


def test_there_is_one_keeper_for_a_folder(keeper: Keeper, root: Path) -> None:
    with pytest.raises(StorageError, match="running already"):
        Keeper(root)
    assert keeper_lives(root)
    assert root.stat().st_mode & 0o777 == 0o700


def test_a_keeper_ends_when_nothing_is_mounted(root: Path, image: LazyImage, layout: Path) -> None:
    keeper = Keeper(root, idle=0.2)
    thread = threading.Thread(target=keeper.run)
    try:
        ask(socket_of(root), "mount", mount_request(image, layout))
        thread.start()
        thread.join(2.0)
        assert thread.is_alive(), "something is mounted"
        ask(socket_of(root), "remove", {"id": "m"})
        thread.join(20)
        assert not thread.is_alive()
    finally:
        keeper.closing.set()
        keeper.close()
    assert not keeper_lives(root)
    assert not (root / "host.json").exists(), "nobody is to start it again"


@pytest.mark.parametrize(
    ("verb", "change"),
    [
        ("mount", {"manifest": "{"}),
        ("mount", {"digest": str(Digest.of(b"another"))}),
        ("mount", {"target": 5}),
        ("mount", {"network": ["x"]}),
        ("mount", {"budget": "much"}),
        ("dance", {}),
        ("started", {}),
    ],
)
def test_questions_that_make_no_sense_are_refused(
    keeper: Keeper, root: Path, image: LazyImage, layout: Path, verb: str, change: dict[str, Any]
) -> None:
    with pytest.raises(InvalidDocument):
        ask(socket_of(root), verb, mount_request(image, layout) | change)
    assert ask(socket_of(root), "mounts", {}) == {"mounts": {}}


def test_what_a_source_has_not_is_said(keeper: Keeper, root: Path, image: LazyImage, tmp_path: Path) -> None:
    empty = OciLayout(tmp_path / "empty")
    with pytest.raises(RemoteNotFound):
        ask(socket_of(root), "mount", mount_request(image, empty.root))


def test_a_layout_that_holds_other_bytes_is_not_believed(
    keeper: Keeper, root: Path, image: LazyImage, layout: Path
) -> None:
    blob = image.manifest.layers[0]
    path = OciLayout(layout).path(blob.digest)
    path.write_bytes(b"x" * blob.size)
    ask(socket_of(root), "mount", mount_request(image, layout))
    door = open_door(socket_of(root), "m")
    status = ask(socket_of(root), "status", {"id": "m"})
    wrong = next(f["path"] for f in status["files"] if f["path"].startswith("model-0"))
    eventually(lambda: wrong in ask(socket_of(root), "status", {"id": "m"})["lost"], "its shard is lost")
    right = [p for p in image.files if p != wrong]
    plan = MountPlan.parse((root / "mounts/m/plan.json").read_bytes())
    assert {path: read(door, plan, path) for path in right} == {path: image.files[path] for path in right}
    door.close()


def test_nobody_is_asked(root: Path) -> None:
    with pytest.raises(StorageError, match="nobody answers"):
        ask(socket_of(root), "status", {})


def test_settings_of_a_network_are_kept_without_secrets(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    network = network_of(ClientSettings(plain_http=True, ca_file=authority), {"DOCKER_CONFIG": str(tmp_path)})
    settings = client_settings(network)
    assert settings.plain_http
    assert (settings.ca_file, settings.docker_config) == (authority, tmp_path)
    assert network_of(ClientSettings(), {}) == ()
    remotes = Remotes()
    remotes.know("registry.example", network)
    with pytest.raises(Unreachable, match="cannot read"):
        remotes.client("registry.example")
    remotes.know("registry.example", (("plain_http", "yes"),))
    assert remotes.client("registry.example") is remotes.client("registry.example")
    assert remotes.client("registry.example") is not remotes.client("other.example")
    remotes.close()


class Disk:
    """A layout with blobs of 100 bytes, and a `Room` over it."""

    def __init__(self, root: Path, budget: int | None = None) -> None:
        self.layout = OciLayout(root)
        self.evicted: list[Digest] = []
        self.in_use: set[Digest] = set()
        self.coming = 0
        self.room = Room(root, self.layout, self.evict, lambda: self.coming, budget)

    def put(self, number: int, age: float) -> Digest:
        with self.layout.begin() as writer:
            writer.write(b"%05d" % number * 20_000)
            digest = writer.commit()
        stamp = time.time() - age
        os.utime(self.layout.path(digest), (stamp, stamp))
        return digest

    def put_part(self, number: int, age: float) -> Digest:
        """Of a blob that did not come to its end."""
        digest = Digest.of(b"%d" % number)
        data = self.part(digest) / "plain" / "data"
        data.parent.mkdir(parents=True)
        data.write_bytes(b"%05d" % number * 20_000)
        os.utime(data, (time.time() - age, time.time() - age))
        return digest

    def part(self, digest: Digest) -> Path:
        return self.layout.root / "partial" / digest.algorithm / digest.hex

    def evict(self, digest: Digest) -> bool:
        if digest in self.in_use:
            return False
        self.evicted.append(digest)
        if digest in self.layout:
            self.layout.delete(digest)
        shutil.rmtree(self.part(digest), ignore_errors=True)
        return True


def test_the_blob_that_was_not_used_for_longest_goes_first(root: Path) -> None:
    disk = Disk(root, budget=350_000)
    old, older, new = disk.put(1, 200), disk.put(2, 300), disk.put(3, 100)
    disk.room.make(Digest.of(b"next"), 100_000)
    assert disk.evicted == [older]
    disk.room.used(old)
    disk.room.make(Digest.of(b"next"), 200_000)
    assert disk.evicted == [older, new]


def test_parts_of_blobs_go_too_when_nobody_goes_on_with_them(root: Path) -> None:
    disk = Disk(root, budget=350_000)
    new = disk.put(1, 100)
    part = disk.put_part(2, 200)
    disk.room.make(Digest.of(b"next"), 200_000)
    assert disk.evicted == [part]
    assert new in disk.layout


def test_what_is_here_of_a_blob_already_needs_no_room_again(root: Path) -> None:
    disk = Disk(root, budget=250_000)
    part = disk.put_part(1, 0)
    other = disk.put(2, 100)
    disk.room.make(part, 140_000)
    assert disk.evicted == []
    disk.room.make(part, 240_000)
    assert disk.evicted == [other]


def test_what_is_in_use_stays_and_its_lack_is_said(root: Path) -> None:
    disk = Disk(root, budget=250_000)
    disk.in_use = {disk.put(1, 200), disk.put(2, 100)}
    with pytest.raises(NoSpace, match="budget") as refusal:
        disk.room.make(Digest.of(b"next"), 200_000)
    assert refusal.value.hint is not None
    assert disk.evicted == []
    disk.coming = 100_000
    with pytest.raises(NoSpace):
        disk.room.make(Digest.of(b"next"), 1)


def test_a_disk_that_is_full_is_no_place_for_more(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(root)
    disk.room.make(Digest.of(b"next"), 1000)
    free = os.statvfs(root)
    with pytest.raises(NoSpace, match="disk"):
        disk.room.make(Digest.of(b"next"), free.f_bavail * free.f_frsize)
    monkeypatch.setattr(room, "_SPARE", 1 << 60)
    with pytest.raises(NoSpace, match="disk"):
        disk.room.make(Digest.of(b"next"), 1)
