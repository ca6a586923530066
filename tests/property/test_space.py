"""Eviction, whatever is on a node: what is needed stays, the oldest goes first, and no more than necessary."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from modelcar.cache.stored import Stored
from modelcar.oci import Digest
from registry_shim.space.evict import Contents, Image, Plan, abandoned, choose, in_use, use_of

DIGESTS = [Digest.of(bytes([n])) for n in range(24)]
DOCUMENTS, BLOBS = DIGESTS[:8], DIGESTS[8:]
NOW = 1000.0


@st.composite
def images(draw: st.DrawFn) -> Image:
    documents = draw(st.lists(st.sampled_from(DOCUMENTS), min_size=1, max_size=3, unique=True))
    blobs = draw(st.lists(st.sampled_from(BLOBS), max_size=5, unique=True))
    return Image(
        root=documents[0],
        documents=tuple(documents),
        blobs=tuple(blobs),
        pinned=draw(st.sampled_from([False, False, True])),
    )


@st.composite
def nodes(draw: st.DrawFn) -> Contents:
    stored = {
        digest: Stored(
            digest=digest,
            size=draw(st.integers(0, 1000)),
            used=draw(st.integers(0, int(NOW))),
            partial=draw(st.booleans()),
        )
        for digest in draw(st.lists(st.sampled_from(DIGESTS), unique=True))
    }
    few = st.frozensets(st.sampled_from(DIGESTS), max_size=2)
    return Contents(stored=stored, images=draw(st.lists(images(), max_size=6)), held=draw(few), kept=draw(few))


def evicted(plan: Plan) -> list[Image]:
    return [e.image for e in plan.evictions if e.image is not None]


def owners(node: Contents) -> dict[Digest, int]:
    return {d: sum(d in i.members for i in node.images) for d in DIGESTS}


def used(node: Contents, image: Image) -> float:
    return use_of(image, node, owners(node))


def movable(node: Contents, image: Image) -> bool:
    busy = next(b for i, b in zip(node.images, in_use(node, owners(node)), strict=True) if i is image)
    return not image.pinned and not busy


def remaining(node: Contents, plan: Plan) -> list[Image]:
    gone = [id(image) for image in evicted(plan)]
    return [image for image in node.images if id(image) not in gone]


@given(nodes(), st.integers(-1, 8000), st.integers(0, int(NOW)))
def test_nothing_that_is_needed_goes(node: Contents, wanted: int, idle_since: int) -> None:
    plan = choose(node, wanted, idle_since=idle_since)
    needed = {d for image in remaining(node, plan) for d in image.members}
    assert plan.digests.isdisjoint(needed | set(node.held) | set(node.kept))
    for image in evicted(plan):
        assert not image.pinned
        for digest in node.held.intersection(image.members):
            sharers = [i for i in node.images if digest in i.members and i is not image]
            assert sharers, "it is this image's alone, so this image is in use"
            assert max(used(node, i) for i in sharers) > used(node, image)
    for eviction in plan.evictions:
        assert eviction.used <= idle_since


@given(nodes(), st.integers(0, 8000))
def test_enough_goes_or_all_that_may(node: Contents, wanted: int) -> None:
    plan = choose(node, wanted, idle_since=NOW)
    if plan.freed >= wanted:
        return
    for image in remaining(node, plan):
        assert not movable(node, image), "an image that could have gone stayed"
    named = {d for image in node.images for d in image.members}
    loose = set(node.stored) - named - node.held - node.kept
    assert loose <= plan.digests


@given(nodes(), st.integers(1, 8000))
def test_what_goes_was_used_before_what_stays(node: Contents, wanted: int) -> None:
    plan = choose(node, wanted, idle_since=NOW)
    if not plan.evictions:
        return
    order = [e.used for e in plan.evictions]
    assert order == sorted(order)
    for image in remaining(node, plan):
        if movable(node, image) and image.blobs:
            # An older one may stay only because giving it up would have freed none of its layers.
            older = used(node, image) < order[-1]
            others = {d for i in remaining(node, plan) if i is not image for d in i.members}
            freeable = set(image.blobs) & set(node.stored) - others - node.held - node.kept
            assert not (older and sum(node.stored[d].size for d in freeable) > 0)


@given(nodes(), st.integers(1, 8000))
def test_no_step_too_many(node: Contents, wanted: int) -> None:
    plan = choose(node, wanted, idle_since=NOW)
    if plan.evictions:
        assert plan.freed - plan.evictions[-1].size < wanted


@given(nodes(), st.integers(1, 8000))
def test_each_digest_goes_once_and_is_counted_once(node: Contents, wanted: int) -> None:
    plan = choose(node, wanted, idle_since=NOW)
    gone = [d for e in plan.evictions for d in e.digests]
    assert len(gone) == len(set(gone))
    assert plan.freed == sum(node.stored[d].size for d in gone)


@given(nodes(), st.integers(0, int(NOW)))
def test_abandoned_parts_go_by_age_alone(node: Contents, older_than: int) -> None:
    pinned = {d for image in node.images if image.pinned for d in image.members}
    old = {d for d, s in node.stored.items() if s.partial and s.used <= older_than}
    assert abandoned(node, older_than=older_than).digests == old - pinned - node.held - node.kept
