"""The host of mounts: what it remembers, how far it is, and when a mount is over."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from modelcar.cache.lease import Purpose
from modelcar.errors import InvalidContent, NotFound, StorageError, UsageError
from modelcar.mounts.host import MountHost
from modelcar.mounts.plans import plan_image
from modelcar.mounts.records import Records
from modelcar.oci import Manifest
from tests.support.chunks import Fault
from tests.support.lazy_images import Places, lazy_image, tar_of
from tests.support.waiting import eventually
from tests.unit.mounts.conftest import ORIGIN, Node, read_all

pytestmark = pytest.mark.slow


def here(node: Node, name: str = "m") -> tuple[int, int]:
    status = node.host.status(name)
    return status.present, status.size


def test_everything_comes_without_anybody_reading(node: Node, places: Places) -> None:
    image = lazy_image(shards=(3_000_000, 100_000, 2_000_000, 50_000))
    places.put(image)
    node.mount(image)
    size = sum(map(len, image.files.values()))
    eventually(lambda: here(node) == (size, size), "all of it comes")
    size = sum(map(len, image.blobs.values()))
    eventually(lambda: places.sent >= size, "and what is of no file")
    assert places.sent == size, "each byte once"


def test_blobs_come_in_the_order_of_the_plan(node: Node, places: Places) -> None:
    image = lazy_image(shards=(400_000, 400_000, 400_000, 400_000))
    places.put(image)
    gate = threading.Event()
    record = node.record()
    plan = plan_image("x", image.manifest, node.host.reading(record))
    held = plan.blobs[1].digest  # the first shard; the next one may be on its way beside it
    places.sources[held].gate = gate
    node.host.add(record, plan)
    eventually(lambda: places.sources[plan.blobs[2].digest].asked, "the second is asked for")
    order = [d for d, source in places.sources.items() if source.asked]
    gate.set()
    eventually(lambda: here(node)[0] == here(node)[1], "all of it comes")
    assert held in order


def test_progress_is_told_by_file_and_range(node: Node, places: Places) -> None:
    image = lazy_image(shards=(1_000_000,))
    places.put(image)
    record = node.record()
    plan = plan_image("x", image.manifest, node.host.reading(record))
    shard = next(n for n, blob in enumerate(plan.blobs) if blob.size > 900_000)
    source = places.sources[plan.blobs[shard].digest]
    source.faults.append(Fault(times=10_000, at=600_000, stall=300_000))
    node.host.add(record, plan)
    file = next(f for f in plan.files if f.blob == shard)

    def ranges() -> tuple[tuple[int, int], ...]:
        return next(f.ranges for f in node.host.status("m").files if f.path == file.path)

    eventually(ranges, "some of it comes")
    status = next(f for f in node.host.status("m").files if f.path == file.path)
    assert 0 < status.present < status.size
    assert status.has(*status.ranges[0])
    assert not status.has(0, status.size)
    assert status.has(5, 5)
    source.faults.clear()


def test_a_mount_that_is_added_again_is_the_same(node: Node, places: Places) -> None:
    image = lazy_image()
    places.put(image)
    plan = node.mount(image)
    first = node.host.attach("m")
    node.mount(image)
    assert node.host.attach("m") is first
    assert node.host.attach("m").plan == plan


def test_an_unmounted_model_is_no_longer_in_use(node: Node, places: Places) -> None:
    image = lazy_image()
    places.put(image)
    plan = node.mount(image)
    eventually(lambda: here(node)[0] == here(node)[1], "all of it comes")
    assert node.cache.leased() >= {blob.digest for blob in plan.blobs}
    assert not node.cache.evict(plan.blobs[0].digest)
    node.host.remove("m")
    node.host.remove("m")
    eventually(lambda: not node.cache.leased(), "nothing is leased")
    assert node.cache.evict(plan.blobs[0].digest)
    assert not list(node.root.glob("mounts/*"))
    with pytest.raises(NotFound):
        node.host.status("m")


def test_the_next_host_goes_on_with_the_same_mounts(node: Node, places: Places) -> None:
    image = lazy_image()
    places.put(image)
    plan = node.mount(image)
    node.host.started("m", os.getpid(), "fuse")
    sent = places.sent
    node.restart()
    record = node.host.mounts()["m"]
    assert record.front == "fuse"
    assert record.supervisor is not None
    assert record.supervisor[0] == os.getpid()
    assert record.origin == ORIGIN
    assert node.cache.leased() >= {blob.digest for blob in plan.blobs}
    door = node.door()
    assert read_all(door, plan) == image.files
    assert sent <= places.sent <= sum(map(len, image.blobs.values())) + 2 * 64_000, "it did not begin anew"
    door.close()


def test_a_registry_that_stands_still_keeps_nobody_else_waiting(node: Node, places: Places) -> None:
    image, slow = lazy_image(), lazy_image(seed=2)
    places.put(image)
    places.put(slow)
    plan = node.mount(image)
    gate = places.sources[slow.manifest.layers[-1].digest].gate = threading.Event()
    held = replace(plan, index=slow.manifest.layers[-1])
    failures: list[Exception] = []

    def add() -> None:
        try:
            node.host.add(node.record("slow"), held)
        except NotFound as e:
            failures.append(e)

    thread = threading.Thread(target=add)
    thread.start()
    eventually(lambda: "slow" in node.host.mounts(), "it has begun")
    door = node.door()
    assert read_all(door, plan) == image.files
    assert node.host.status("m").size == plan.size
    assert node.host.status("slow").present == 0
    node.host.remove("slow")
    node.mount(image, "other")
    gate.set()
    thread.join(30)
    assert [type(failure) for failure in failures] == [NotFound], "it was taken away while it began"
    assert set(node.host.mounts()) == {"m", "other"}
    door.close()


def test_remains_of_a_record_are_no_mount(node: Node, places: Places) -> None:
    image = lazy_image()
    places.put(image)
    node.mount(image)
    node.mount(image, "n")
    node.stop()
    (node.root / "mounts/n/plan.json").write_bytes(b"{}")
    (node.root / "mounts/unfinished").mkdir()
    node.start()
    assert set(node.host.mounts()) == {"m"}
    assert not (node.root / "mounts/n").exists()


def test_a_mount_ends_with_its_supervisor_and_its_last_door(node: Node, places: Places) -> None:
    image = lazy_image()
    places.put(image)
    node.stop()
    node.grace = 0.2
    node.start()
    node.mount(image)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        node.host.started("m", process.pid, "fuse")
        door = node.door()
        process.kill()
    threading.Event().wait(1.5)  # seven times the grace
    assert "m" in node.host.mounts(), "somebody still reads through it"
    door.close()
    eventually(lambda: "m" not in node.host.mounts(), "nobody is left")


def test_a_mount_whose_processes_are_all_gone_is_told_of_at_once(node: Node, places: Places) -> None:
    image = lazy_image()
    places.put(image)
    orphans: list[str] = []
    node.host.close()
    node.host = MountHost(node.root, node.cache, orphaned=lambda record: orphans.append(record.id))
    node.mount(image)
    node.mount(image, "living")
    node.mount(image, "young")
    node.host.started("living", os.getpid(), "erofs")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        node.host.started("m", process.pid, "erofs")
        process.kill()
    eventually(lambda: orphans, "the host notices")
    assert set(orphans) == {"m"}


def test_a_failed_mount_leaves_nothing(node: Node, places: Places) -> None:
    image = lazy_image()
    places.put(image)
    record = node.record()
    plan = plan_image("x", image.manifest, node.host.reading(record))
    node.stop()
    shutil.rmtree(node.root / "partial", ignore_errors=True)
    (node.root / "partial").write_bytes(b"")  # nothing can be kept
    shutil.rmtree(node.root / "blobs")
    node.start()
    with pytest.raises(StorageError):
        node.host.add(record, plan)
    assert node.host.mounts() == {}
    assert not list(node.root.glob("mounts/*"))
    (node.root / "partial").unlink()


def test_an_index_that_is_none_is_refused(node: Node, places: Places) -> None:
    image = lazy_image()
    broken = image.with_index(image.index)
    digest = broken.manifest.layers[-1].digest
    places.put(broken)
    places.sources[digest].data = tar_of([("x", b"y")])
    with pytest.raises(InvalidContent):
        node.mount(broken)
    assert node.host.mounts() == {}


def test_an_image_without_an_index_is_mounted_when_all_of_it_is_here(node: Node, places: Places) -> None:
    image = lazy_image()
    layers = image.manifest.layers[:-1]
    manifest = Manifest(config=image.manifest.config, layers=tuple(replace(layer, annotations={}) for layer in layers))
    places.put(image)
    record = node.record()
    plan = plan_image("x", manifest, node.host.reading(record))
    assert plan.index is None
    node.host.add(record, plan)
    door = node.door()
    assert read_all(door, plan) == image.files
    door.close()


def test_a_blob_without_a_table_is_not_readable_before_all_of_it_was_checked(node: Node, places: Places) -> None:
    image = lazy_image(shards=(9_000_000,))
    blob = image.manifest.layers[0]
    places.put(image)
    source = places.sources[blob.digest]
    source.faults.append(Fault(times=10_000, at=blob.size - 1, stall=0))
    with node.cache.lease(ORIGIN, blob, purpose=Purpose.PULL) as lease:
        eventually(lambda: lease.present > 4_000_000, "some of it comes")
        plan = plan_image("x", image.manifest, node.host.reading(node.record()))
        number = plan.blobs.index(blob)
        node.host.add(node.record(), replace(plan, index=None))
        served = node.host.attach("m")
        eventually(lambda: served.present(number) > 4_000_000, "the mount stands on it")
        assert served.available(number, 0) == 0
        source.faults.clear()


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "x" * 200])
def test_names_of_mounts_are_names(node: Node, places: Places, name: str) -> None:
    image = lazy_image()
    places.put(image)
    plan = plan_image("x", image.manifest, node.host.reading(node.record()))
    with pytest.raises(UsageError):
        Records(node.root).put(node.record(name), plan)


def test_figures_count_who_waited_and_what_became_of_it(node: Node, places: Places) -> None:
    image = lazy_image(shards=(400_000,))
    places.put(image)
    node.mount(image)
    mount = node.host.attach("m")
    size = sum(blob.size for blob in mount.plan.blobs)
    eventually(lambda: node.host.figures()[0].present == size, "all of it comes")
    told: list[int] = []
    mount.want(0, 0, 1, lambda _stop, error, _text: told.append(error))
    eventually(lambda: told, "the reader is answered")
    (figures,) = node.host.figures()
    assert (figures.size, figures.waiting, figures.answered, figures.failed) == (size, 0, 1, 0)
    assert (figures.lost, figures.trouble, figures.record.id) == (0, None, "m")
    mount.close()
    mount.want(0, 0, 1, lambda _stop, error, _text: told.append(error))
    assert told == [0, errno.EIO]
    assert (mount.answered, mount.failed) == (1, 1)
