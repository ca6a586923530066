"""Room on a node: what is freed, in which order, and what never is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from modelcar.cache.stored import taken
from modelcar.errors import NotFound, StorageError
from modelcar.lazy.holds import hold
from modelcar.oci import Descriptor, Digest, Reference
from registry_shim.distribution.repositories import Repositories
from registry_shim.space.space import Space

from .node import BLOCK, Folder, Node

NEW = Digest.of(b"to come")


@contextmanager
def running(node: Node, **settings: Any) -> Iterator[Space]:
    space = node.space(**settings)
    space.start(node.content)
    try:
        yield space
    finally:
        space.close()


@contextmanager
def needed(node: Node, space: Space, how: str, layer: Descriptor, manifest: Descriptor) -> Iterator[None]:
    with ExitStack() as stack:
        match how:
            case "leased":
                node.content.leases.add(layer.digest)
            case "pinned by tag":
                space.pin(Reference.parse("r.example/needed:v1"))
            case "pinned by digest":
                space.pin(Reference.parse(f"r.example/needed@{manifest.digest}"))
            case "held":
                stack.enter_context(hold(node.root, [layer.digest], "a mount"))
            case "pushed":
                Repositories(node.root / "repositories")["own"].link_blob(layer.digest)
            case "reserved":
                stack.enter_context(space.reserved({layer.digest: layer.size}))
        yield


def test_a_pull_takes_the_place_of_the_image_that_was_used_longest_ago(node: Node) -> None:
    old, new = node.layer(1, age=5000), node.layer(2, age=1000)
    manifest = node.image("r.example/old:v1", old, age=5000)
    node.image("r.example/new:v1", new, age=1000, config=b"{1}")
    with running(node, budget=taken(node.root)) as space:
        space.make_room(NEW, BLOCK)
    assert not node.has(old)
    assert not node.has(manifest)
    assert node.has(new)
    repository, _ = node.repository("r.example/old:v1")
    assert repository.resolve("v1") is None
    assert not repository.has_manifest(manifest.digest)
    assert not repository.has_blob(old.digest)


def test_use_counts_and_not_age(node: Node) -> None:
    first, second = node.layer(1, age=5000), node.layer(2, age=1000)
    manifest = node.image("r.example/first:v1", first, age=5000)
    node.image("r.example/second:v1", second, age=1000, config=b"{1}")
    with running(node, budget=taken(node.root), grace=0) as space:
        space.touch(manifest.digest)
        space.make_room(NEW, BLOCK)
    assert node.has(first)
    assert not node.has(second)


def test_uses_survive_a_restart(node: Node) -> None:
    first, second = node.layer(1, age=5000), node.layer(2, age=1000)
    manifest = node.image("r.example/first:v1", first, age=5000)
    node.image("r.example/second:v1", second, age=1000, config=b"{1}")
    with running(node) as space:
        space.touch(manifest.digest)
    with running(node, budget=taken(node.root), grace=0) as space:
        space.make_room(NEW, BLOCK)
    assert node.has(first)
    assert not node.has(second)


def test_a_layer_that_another_image_has_too_stays_and_is_counted_once(node: Node) -> None:
    shared, own = node.layer(1, blocks=4, age=5000), node.layer(2, age=5000)
    node.image("r.example/old:v1", shared, own, age=5000)
    node.image("r.example/new:v1", shared, age=1000, config=b"{1}")
    before = taken(node.root)
    assert before == sum(path.stat().st_blocks * 512 for path in (node.root / "blobs" / "sha256").iterdir())
    with running(node, budget=before) as space:
        space.make_room(NEW, BLOCK)
    assert node.has(shared)
    assert not node.has(own)


@pytest.mark.parametrize("how", ["leased", "pinned by tag", "pinned by digest", "held", "pushed", "reserved"])
def test_what_is_needed_stays_and_the_pull_is_refused(node: Node, how: str) -> None:
    layer = node.layer(1)
    manifest = node.image("r.example/needed:v1", layer, config=bytes([1]) * BLOCK)  # one blob in all
    with running(node, budget=taken(node.root)) as space, needed(node, space, how, layer, manifest):
        with pytest.raises(StorageError, match=r"no room for 64\.0 KiB: the budget is .* of what is here may go") as e:
            space.make_room(NEW, 16 * BLOCK)
        assert "registry-shim status" in (e.value.hint or "")
    assert node.has(layer)
    assert node.counted.refusals == [16 * BLOCK]


def test_nothing_is_given_up_for_what_cannot_fit_anyway(node: Node) -> None:
    layer = node.layer(1)
    node.image("r.example/old:v1", layer)
    with running(node, budget=taken(node.root)) as space, pytest.raises(StorageError):
        space.make_room(NEW, 1 << 40)
    assert node.has(layer)


def test_an_image_that_is_pulled_keeps_its_first_layers_while_the_last_comes(node: Node) -> None:
    coming = Descriptor.of("application/octet-stream", b"x" * BLOCK)
    first = node.layer(1)
    node.image("r.example/pulled:v1", first, coming, age=5000)
    with running(node, budget=taken(node.root)) as space, pytest.raises(StorageError):
        space.make_room(coming.digest, coming.size)
    assert node.has(first)


def test_what_was_used_a_moment_ago_stays(node: Node) -> None:
    layer = node.layer(1, age=10)
    node.image("r.example/fresh:v1", layer, age=10)
    with running(node, budget=taken(node.root), grace=60) as space:
        with pytest.raises(StorageError):
            space.make_room(NEW, BLOCK)
        node.now += 100
        space.make_room(NEW, BLOCK)
    assert not node.has(layer)


def test_two_transfers_do_not_count_on_the_same_bytes(node: Node) -> None:
    with running(node, budget=8 * BLOCK) as space:
        space.make_room(NEW, 5 * BLOCK)
        with pytest.raises(StorageError):
            space.make_room(Digest.of(b"another"), 5 * BLOCK)
        space.make_room(NEW, 5 * BLOCK)  # the same blob again is the same bytes
        space.make_room(Digest.of(b"smaller"), 3 * BLOCK)


def test_promises_hold_however_many_ask_at_once(node: Node) -> None:
    start = threading.Barrier(8)

    def ask(number: int) -> bool:
        start.wait()
        try:
            space.make_room(Digest.of(bytes([number])), 3 * BLOCK)
        except StorageError:
            return False
        return True

    with running(node, budget=10 * BLOCK) as space, ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(8))) == 3


def test_a_reserve_ends_with_its_block(node: Node) -> None:
    with running(node, budget=4 * BLOCK) as space:
        with space.reserved({NEW: 3 * BLOCK}):
            space.make_room(NEW, 3 * BLOCK)
            with pytest.raises(StorageError):
                space.make_room(Digest.of(b"another"), 2 * BLOCK)
        node.content.leases.clear()


def test_parts_that_nobody_goes_on_with_go_by_age(node: Node) -> None:
    old, new = node.partial(b"a" * BLOCK, age=5000), node.partial(b"b" * BLOCK, age=100)
    with running(node, abandoned_after=1000) as space:
        space.look()
    assert node.content.removed == [old.digest]
    assert new.digest not in node.content.removed


def test_above_the_high_mark_the_disk_is_emptied_to_the_low_one(node: Node) -> None:
    layers = [node.layer(n, blocks=1024, age=10_000 - n) for n in range(1, 5)]
    for n, layer in enumerate(layers):
        node.image(f"r.example/m{n}:v1", layer, config=b"%d" % n, age=10_000 - n)
    space = node.space(high_percent=50.0, low_percent=50.0)
    total = 1 << 50
    node.free = total - total // 2 - 5_000_000  # 5 MB above the mark; an image has 4.2 MB
    space.start(node.content)
    try:
        space.look()
    finally:
        space.close()
    assert [node.has(layer) for layer in layers] == [False, False, True, True]


def test_a_dry_run_says_what_would_go_and_leaves_it(node: Node) -> None:
    layer = node.layer(1)
    manifest = node.image("r.example/old:v1", layer)
    with running(node) as space:
        plan = space.collect(wanted=1, dry_run=True)
        assert {layer.digest, manifest.digest} <= set(plan.digests)
        assert node.has(layer, manifest)
        assert space.collect(wanted=1).digests == plan.digests
        assert not node.has(layer)
        assert sum(node.counted.evictions) == plan.freed


class Sudden(Folder):
    """A cache in which everything comes into use just before it would be removed."""

    def leased(self) -> set[Digest]:
        return set()


def test_what_came_into_use_meanwhile_is_not_counted_as_freed(node: Node) -> None:
    layer = node.layer(1, blocks=8)
    manifest = node.image("r.example/old:v1", layer)
    node.content = Sudden(node.root, leases={layer.digest, manifest.digest})
    with running(node, budget=taken(node.root)) as space, pytest.raises(StorageError):
        space.make_room(NEW, 4 * BLOCK)
    assert node.has(layer)


def test_a_pinned_tag_keeps_the_old_image_until_the_new_one_is_whole(node: Node) -> None:
    old, new = node.layer(1, age=9000), Descriptor.of("application/octet-stream", b"n" * BLOCK)
    node.image("r.example/m:v1", old, age=9000)
    with running(node) as space:
        space.pin(Reference.parse("r.example/m:v1"))
        node.image("r.example/m:v1", new, age=8000, config=b"{1}")
        space.look()
        space.collect(wanted=1 << 40)
        assert node.has(old)
        node.blob(b"n" * BLOCK, age=8000)
        space.look()
        space.collect(wanted=1 << 40)
    assert node.has(new)
    assert not node.has(old)


def test_status_adds_up(node: Node) -> None:
    shared, own, loose = node.layer(1, blocks=4), node.layer(2), node.layer(3, blocks=2)
    manifest = node.image("r.example/a:v1", shared, own)
    node.image("r.example/b:v1", shared, config=b"{1}", age=500)
    with running(node, budget=1 << 30) as space:
        space.pin(Reference.parse("r.example/a:v1"))
        space.make_room(NEW, 10 * BLOCK)
        status = space.status()
    newest, oldest = status.images
    assert (newest.names, oldest.names) == (("r.example/b:v1",), ("r.example/a:v1",))
    assert (oldest.digest, oldest.whole, oldest.pinned, newest.pinned) == (manifest.digest, True, True, False)
    assert oldest.size == 7 * BLOCK  # two layers, config, manifest
    assert oldest.total == shared.size + own.size + len(b"{}")
    assert oldest.own == 3 * BLOCK
    assert status.loose == 2 * BLOCK
    assert status.taken == taken(node.root)
    assert status.coming == 10 * BLOCK
    assert status.evictable == 4 * BLOCK  # loose, and what b has alone
    assert status.used_rate == pytest.approx((status.taken + 10 * BLOCK) / (1 << 30))
    assert node.has(loose)


def test_unpinning_what_is_not_pinned_is_an_error(node: Node) -> None:
    with running(node) as space, pytest.raises(NotFound, match="not pinned"):
        space.unpin(Reference.parse("r.example/m:v1"))


def test_what_was_pushed_stays_and_does_not_keep_images_that_share_it(node: Node) -> None:
    shared, own = node.layer(1), node.layer(2)
    node.image("r.example/old:v1", shared, own)
    Repositories(node.root / "repositories")["pushed"].link_blob(shared.digest)
    with running(node) as space:
        space.collect(wanted=1 << 40)
    assert node.has(shared)
    assert not node.has(own)


def test_a_blob_that_has_come_is_not_in_use_any_more(node: Node) -> None:
    content = bytes([9]) * BLOCK
    with running(node, budget=8 * BLOCK, grace=0) as space:
        space.make_room(Digest.of(content), len(content))
        assert space.status().coming == BLOCK
        node.blob(content)
        assert space.status().coming == 0
        assert Digest.of(content) in space.collect(wanted=1).digests


def test_the_promise_to_a_transfer_that_ended_ends_with_it(node: Node) -> None:
    with running(node, budget=8 * BLOCK) as space:
        space.make_room(NEW, 5 * BLOCK)
        node.content.leases.add(NEW)
        assert space.status().coming == 5 * BLOCK
        node.content.leases.clear()  # revoked, say
        assert space.status().coming == 0


@pytest.mark.parametrize("how", ["leased", "coming", "reserved"])
def test_a_blob_that_all_images_share_does_not_keep_all_of_them(node: Node, how: str) -> None:
    """The empty configuration of artifacts, say."""
    shared, old, new = node.layer(1), node.layer(2, blocks=4, age=5000), node.layer(3, blocks=4)
    node.image("r.example/old:v1", shared, old, age=5000)
    node.image("r.example/new:v1", shared, new, age=1000, config=b"{1}")
    with running(node, budget=taken(node.root)) as space, ExitStack() as stack:
        if how == "leased":
            node.content.leases.add(shared.digest)
            space.make_room(NEW, BLOCK)
        elif how == "coming":
            space.make_room(shared.digest, 4 * BLOCK)
        else:
            stack.enter_context(space.reserved({shared.digest: BLOCK, NEW: BLOCK}))
    assert not node.has(old)
    assert node.has(shared, new)


def test_on_a_disk_that_others_filled_pulls_go_on_and_precaching_does_not(node: Node) -> None:
    node.free = (1 << 50) // 20
    with running(node, high_percent=90.0, low_percent=80.0) as space:
        space.make_room(NEW, BLOCK)
        with (
            pytest.raises(StorageError, match=r"the disk may be 90 % full \(high_percent\)"),
            space.reserved({NEW: BLOCK}),
        ):
            raise AssertionError
        here = node.layer(1)
        with space.reserved({here.digest: here.size}):  # nothing is to come
            pass
