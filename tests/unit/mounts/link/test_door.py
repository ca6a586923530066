"""A door and its host: what is readable is right, whatever happens to either."""

from __future__ import annotations

import errno
import os
import threading
from dataclasses import replace

import pytest

from modelcar.backoff import Backoff
from modelcar.errors import DigestMismatch, StorageError, Unreachable
from modelcar.layers.hashing import Chunk
from modelcar.mounts.link import client
from modelcar.oci import Digest
from tests.support.chunks import Fault
from tests.support.lazy_images import Places, lazy_image
from tests.support.waiting import eventually
from tests.unit.mounts.conftest import Node, ask, read, read_all

pytestmark = pytest.mark.slow


def test_all_files_are_those_of_the_image(node: Node, places: Places) -> None:
    image = lazy_image()
    places.put(image)
    plan = node.mount(image)
    door = node.door()
    assert read_all(door, plan) == image.files
    assert not os.get_inheritable(door.fileno(0))
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.pwrite(door.fileno(0), b"x", 0)
    door.close()


def test_a_second_mount_costs_nothing(node: Node, places: Places) -> None:
    image = lazy_image()
    places.put(image)
    node.mount(image)
    first = node.door()
    whole: list[int] = []
    first.on_whole(whole.append)
    eventually(lambda: sorted(whole) == [0, 1, 2], "the door is told of blobs that are whole")
    before = places.sent
    assert before == sum(map(len, image.blobs.values()))
    plan = node.mount(image, "n")
    second = node.door("n")
    assert read_all(second, plan) == image.files
    assert places.sent == before
    first.close()
    second.close()


def test_what_is_known_to_be_here_costs_no_message(node: Node, places: Places) -> None:
    image = lazy_image()
    places.put(image)
    plan = node.mount(image)
    door = node.door()
    read_all(door, plan)
    node.stop()
    assert read_all(door, plan) == image.files, "the host is away, and nothing of it is needed"
    door.close()


def test_nothing_is_readable_before_it_came(node: Node, places: Places) -> None:
    image = lazy_image()
    places.put(image)
    plan = node.mount(image)  # the index is here now
    gate = threading.Event()
    for source in places.sources.values():
        source.gate = gate
    node.host.remove("m")
    node.cache.remove(plan.blobs[1].digest)
    plan = node.mount(image)
    door = node.door()
    blob = plan.blobs[1]
    assert not door.readable(1, 0, blob.size)
    said: list[int] = []
    door.ask(1, 0, blob.size, said.append)
    door.ask(1, 0, 0, said.append)
    assert said == [0], "no bytes are always here"
    gate.set()
    eventually(lambda: said == [0, 0], "it comes")
    assert os.pread(door.fileno(1), blob.size, 0) == image.blobs[blob.digest]
    door.close()


def test_a_fault_jumps_the_queue(node: Node, places: Places) -> None:
    image = lazy_image(shards=(3_000_000, 3_000_000))
    places.put(image)
    plan = node.mount(image)
    last = max(plan.files, key=lambda f: (f.blob, f.offset))
    door = node.door()
    assert read(door, plan, last.path) == image.files[last.path]
    door.close()


@pytest.mark.parametrize("name", ["unknown", "", "../../etc"])
def test_there_is_no_door_to_what_is_not_mounted(node: Node, name: str) -> None:
    with pytest.raises(StorageError, match="there is no mount"):
        node.door(name)


def test_nobody_listens(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_OPENING", 0.2)
    with pytest.raises(StorageError, match="did not hand over the files of mount m"):
        client.open_door(tmp_path_factory.mktemp("empty") / "host.sock", "m")


def test_who_waits_is_answered_in_time_when_the_host_is_away(node: Node, places: Places) -> None:
    image = lazy_image()
    places.put(image)
    plan = node.mount(image)
    gate = threading.Event()
    node.host.remove("m")
    for blob in plan.blobs:
        node.cache.remove(blob.digest)
        places.sources[blob.digest].gate = gate
    node.mount(image)
    door = node.door(limit=0.5)
    node.stop()
    assert ask(door, 0, 0, plan.blobs[0].size) == errno.EIO
    gate.set()
    door.close()


def test_a_host_that_comes_back_answers_what_was_asked_of_the_one_before(node: Node, places: Places) -> None:
    image = lazy_image(shards=(2_000_000,))
    places.put(image)
    plan = node.mount(image)
    gate = threading.Event()
    node.host.remove("m")
    big = max(range(2), key=lambda n: plan.blobs[n].size)
    node.cache.remove(plan.blobs[big].digest)
    places.sources[plan.blobs[big].digest].gate = gate
    node.mount(image)
    door = node.door()
    said: list[int] = []
    for offset in range(0, 2_000_000, 100_000):
        door.ask(big, offset, 1000, said.append)
    inode = os.fstat(door.fileno(big)).st_ino
    node.stop()
    gate.set()
    node.start()
    eventually(lambda: len(said) == 20, "everybody is answered")
    assert said == [0] * 20
    assert os.fstat(door.fileno(big)).st_ino == inode
    assert read_all(door, plan) == image.files
    door.close()


def test_a_blob_with_another_file_after_a_restart_is_lost_and_not_mixed_up(node: Node, places: Places) -> None:
    image = lazy_image()
    places.put(image)
    plan = node.mount(image)
    door = node.door()
    assert read_all(door, plan) == image.files
    lost: list[int] = []
    door.on_lost(lost.append)
    node.stop()
    node.root.joinpath("blobs/sha256", plan.blobs[1].digest.hex).unlink(missing_ok=True)
    for path in node.root.glob(f"partial/sha256/{plan.blobs[1].digest.hex}/*/*"):
        path.unlink()
    node.start()
    eventually(lambda: lost == [1], "the blob is lost")
    assert door.lost(1) == errno.EIO
    assert not door.readable(1, 0, 1)
    assert ask(door, 1, 0, 1) == errno.EIO
    files = [f for f in plan.files if f.blob == 0]
    assert all(read(door, plan, f.path) == image.files[f.path] for f in files)
    door.close()


def test_a_revoked_blob_is_lost_at_once(node: Node, places: Places) -> None:
    image = lazy_image()
    places.put(image)
    plan = node.mount(image)
    door = node.door()
    assert read_all(door, plan) == image.files
    lost: list[int] = []
    door.on_lost(lost.append)
    node.cache.revoke(plan.blobs[2].digest, DigestMismatch("it is malicious"))
    eventually(lambda: lost == [2], "the door is told")
    with pytest.raises(OSError, match="Input/output error"):
        read(door, plan, next(f.path for f in plan.files if f.blob == 2))
    late: list[int] = []
    door.on_lost(late.append)
    assert late == [2], "who listens later is told, too"
    status = node.host.status("m")
    assert set(status.lost.values()) == {"it is malicious"}
    door.close()


def test_wrong_chunks_are_errors_and_never_bytes(node: Node, places: Places) -> None:
    image = lazy_image()
    places.put(image)
    blob = image.manifest.layers[0].digest
    places.sources[blob].faults.append(Fault(times=1000, wrong=True, at=0))
    plan = node.mount(image)
    door = node.door()
    number = next(n for n, b in enumerate(plan.blobs) if b.digest == blob)
    assert ask(door, number, 0, 1000) == errno.EIO
    assert not door.readable(number, 0, 1)
    others = [f for f in plan.files if f.blob != number]
    assert others
    assert all(read(door, plan, f.path) == image.files[f.path] for f in others)
    door.close()


def test_an_index_that_describes_other_bytes_loses_the_blob_when_it_is_whole(node: Node, places: Places) -> None:
    """Every chunk is what the index says, and together they are not the layer: a publisher's lie."""
    image = lazy_image()
    blob = image.manifest.layers[0]
    forged = bytearray(image.blobs[blob.digest])
    forged[70_000] ^= 1
    layers = list(image.index.layers)
    chunks = tuple(
        Chunk(offset=c.offset, size=c.size, digest=Digest.of(bytes(forged[c.offset : c.offset + c.size])))
        for c in layers[0].chunks
    )
    lying = image.with_index(replace(image.index, layers=(replace(layers[0], chunks=chunks), *layers[1:])))
    places.put(lying)
    places.sources[blob.digest].data = bytes(forged)
    plan = node.mount(lying)
    door = node.door()
    number = next(n for n, b in enumerate(plan.blobs) if b.digest == blob.digest)
    eventually(lambda: door.lost(number), "the digest of the whole is checked")
    assert ask(door, number, 0, 1) == errno.EIO
    reasons = set(node.host.status("m").lost.values())
    assert len(reasons) == 1
    assert "though every chunk is what the model index says" in reasons.pop()
    door.close()


def test_a_registry_that_is_away_for_a_while_is_waited_for(
    node: Node, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelcar.mounts.served._BACKOFF", Backoff(0.05, 0.5))
    image = lazy_image()
    places.put(image)
    blob = image.manifest.layers[0].digest
    places.sources[blob].faults.append(Fault(times=15, refuse=Unreachable("it is away")))
    plan = node.mount(image)
    door = node.door()
    assert read_all(door, plan) == image.files
    door.close()


def test_a_door_that_is_closed_answers_who_waits(node: Node, places: Places) -> None:
    image = lazy_image()
    places.put(image)
    plan = node.mount(image)
    gate = threading.Event()
    node.host.remove("m")
    node.cache.remove(plan.blobs[1].digest)
    places.sources[plan.blobs[1].digest].gate = gate
    node.mount(image)
    door = node.door()
    said: list[int] = []
    door.ask(1, 0, 1000, said.append)
    door.close()
    assert said == [errno.EIO]
    door.ask(1, 0, 1000, said.append)
    assert said == [errno.EIO, errno.EIO]
    gate.set()
    eventually(lambda: node.host.attach("m").waiting == 0, "the host has forgotten it")
