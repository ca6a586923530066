"""What ranks need of a mounted model comes first: which ranges those are, their order, and that it survives a host."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from modelcar.backoff import Backoff
from modelcar.checkpoint import open_checkpoint
from modelcar.errors import InvalidDocument, NotFound, UsageError
from modelcar.mounts.plan import MountPlan
from modelcar.mounts.plans import plan_image
from modelcar.mounts.ranked import RankedReading, Ranks
from modelcar.mounts.records import MountRecord
from modelcar.oci import Platform
from modelcar.packaging.base import scratch_base
from modelcar.packaging.build import build_image
from modelcar.packaging.fetch import StoreSource, choose_manifest
from modelcar.packaging.inspect import index_layer_of, parse_index_layer
from modelcar.ranks import Topology
from modelcar.store import LocalStore
from tests.support.architectures import llama, write_checkpoint
from tests.support.checkpoints import files_of
from tests.support.lazy_images import LazyImage, Places, lazy_image
from tests.support.waiting import eventually
from tests.unit.mounts.conftest import Node, read, read_all

pytestmark = pytest.mark.slow

LAST = Ranks(topology=Topology(pp=2), ranks=(1,))


@pytest.fixture
def image(tmp_path: Path) -> LazyImage:
    """Four layers of a model in as many shards."""
    write_checkpoint(tmp_path / "model", llama(layers=4, vocabulary=256), shards=4)
    store = LocalStore(tmp_path / "home")
    built = build_image(open_checkpoint(tmp_path / "model"), store, [scratch_base(Platform.parse("linux/amd64"))])
    manifest = choose_manifest(StoreSource(store.content, built.index), built.index)
    blobs = {}
    for layer in manifest.layers:
        with store.content.open(layer.digest) as stream:
            blobs[layer.digest] = stream.read()
    index = index_layer_of(manifest)
    assert index is not None
    model = parse_index_layer(blobs[index.digest])
    return LazyImage(files=files_of(tmp_path / "model"), manifest=manifest, index=model, blobs=blobs)


def record(node: Node, ranks: Ranks | None = LAST, name: str = "m") -> MountRecord:
    return replace(node.record(name), ranks=ranks)


def add(node: Node, image: LazyImage, record: MountRecord) -> MountPlan:
    plan = plan_image("registry.example/org/model:v1", image.manifest, node.host.reading(record))
    node.host.add(record, plan)
    return plan


def is_whole(node: Node) -> bool:
    status = node.host.status("m")
    return status.present == status.size


def test_what_a_stage_needs_comes_before_the_rest_and_what_is_read_before_both(
    node: Node, places: Places, image: LazyImage
) -> None:
    places.put(image)
    planned = plan_image("x", image.manifest, node.host.reading(node.record()))
    number = {file.path: file.blob for file in planned.files}
    shards = [planned.blobs[number[f"model-{n:05}-of-00004.safetensors"]].digest for n in range(1, 5)]
    gate = places.sources[shards[3]].gate = threading.Event()
    plan = add(node, image, record(node))
    eventually(lambda: places.sources[shards[3]].asked, "the last shard is asked for")
    eventually(lambda: places.sources[shards[2]].sent, "the one before it, too")
    assert not places.sources[shards[0]].asked, "the other stage's"
    door = node.door()
    assert read(door, plan, "model-00001-of-00004.safetensors") == image.files["model-00001-of-00004.safetensors"]
    assert not is_whole(node)
    gate.set()
    eventually(lambda: is_whole(node), "all of it comes in the end")
    assert read_all(door, plan) == image.files
    size = sum(map(len, image.blobs.values()))
    eventually(lambda: places.sent >= size, "and what is of no file")
    assert places.sent == size, "each byte once"
    door.close()


def test_ranges_of_a_blob_come_before_the_rest_of_it(
    node: Node, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = lazy_image(shards=(600_000, 600_000))
    places.put(image)
    planned = plan_image("x", image.manifest, node.host.reading(node.record()))
    first, second = (places.sources[blob.digest] for blob in planned.blobs[1:])
    second.gate = threading.Event()
    monkeypatch.setattr(RankedReading, "ranges", lambda *_: {2: ((200_000, 300_000), (400_000, 400_010))})
    add(node, image, record(node))
    eventually(lambda: len(second.asked) >= 2, "both ranges are asked for")
    chunks = {n for offset, size in second.asked for n in range(offset >> 16, (offset + size - 1 >> 16) + 1)}
    assert chunks == {3, 4, 6}
    assert not first.asked
    second.gate.set()
    eventually(lambda: is_whole(node), "all of it comes")
    assert places.sent == sum(map(len, image.blobs.values()))


def test_a_registry_that_fails_in_between_is_asked_again(
    node: Node, places: Places, image: LazyImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelcar.mounts.ahead._BACKOFF", Backoff(0.01, 0.01))
    places.put(image)
    plan = plan_image("x", image.manifest, node.host.reading(node.record()))
    taken = {blob.digest: places.sources[blob.digest].data for blob in plan.blobs[1:]}
    for digest in taken:
        places.sources[digest].data = b""
    node.host.add(record(node), plan)
    eventually(lambda: node.host.status("m").trouble, "nothing comes")
    for digest, data in taken.items():
        places.sources[digest].data = data
    eventually(lambda: is_whole(node), "all of it comes")
    assert node.host.status("m").trouble is None


def test_the_next_host_knows_the_ranks(node: Node, places: Places, image: LazyImage) -> None:
    places.put(image)
    plan = add(node, image, record(node, Ranks(topology=Topology(tp=2, pp=2, stages=(3, 1)), ranks=(0, 3))))
    node.host.started("m", os.getpid(), "fuse")
    node.restart()
    known = node.host.mounts()["m"].ranks
    assert known == Ranks(topology=Topology(tp=2, pp=2, stages=(3, 1)), ranks=(0, 3))
    door = node.door()
    assert read_all(door, plan) == image.files
    door.close()


@pytest.mark.parametrize(
    ("ranks", "complaint"),
    [
        (Ranks(topology=Topology(pp=2), ranks=(2,)), "there is no rank 2"),
        (Ranks(topology=Topology(pp=9), ranks=(0,)), "4 layers cannot be divided over 9 pipeline stages"),
    ],
)
def test_ranks_that_there_are_not(node: Node, places: Places, image: LazyImage, ranks: Ranks, complaint: str) -> None:
    places.put(image)
    with pytest.raises(UsageError, match=complaint):
        add(node, image, record(node, ranks))
    with pytest.raises(NotFound):
        node.host.status("m")
    assert not list(node.root.glob("mounts/*"))


def test_an_image_without_an_index_has_no_parts(node: Node, places: Places, image: LazyImage) -> None:
    without = replace(image, manifest=replace(image.manifest, layers=image.manifest.layers[:-1]))
    places.put(without)
    with pytest.raises(UsageError, match="no model index, so nothing of it can come first"):
        add(node, without, record(node))


@pytest.mark.parametrize(
    "ranks", [5, {"tp": 1}, {"tp": "1", "pp": 1, "ep": 1, "stages": [], "ranks": [0]}, {**LAST.to_dict(), "tp": 0}]
)
def test_records_of_ranks_that_are_none(node: Node, ranks: object) -> None:
    document = record(node).to_dict()
    assert MountRecord.from_dict("m", document) == record(node)
    with pytest.raises(InvalidDocument):
        MountRecord.from_dict("m", {**document, "ranks": ranks})
    del document["ranks"]
    assert MountRecord.from_dict("m", document).ranks is None, "as before there were any"
