"""Signatures in the local store: found, kept with their image, and collected with it."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from modelcar.errors import NotFound
from modelcar.oci import Descriptor, Digest, Index, Manifest, compact_json, media_types
from modelcar.store import LocalStore, Names, OciLayout, write_document
from modelcar.store.attachments import Attachments
from tests.support.images import put_image, random_image

EMPTY = Descriptor.of(media_types.EMPTY, b"{}")


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def put_referrer(layout: OciLayout, subject: Digest, content: bytes = b"bundle") -> Manifest:
    """A manifest with a subject and one layer, complete in `layout` and listed nowhere."""
    write_document(layout, b"{}")
    layer = Descriptor.of("application/x", content)
    write_document(layout, content)
    about = Descriptor(media_type=media_types.INDEX, digest=subject, size=1)
    manifest = Manifest(artifact_type="application/x", config=EMPTY, layers=(layer,), subject=about)
    write_document(layout, manifest.content)
    return manifest


def named(store: LocalStore, name: str, seed: int) -> Descriptor:
    root = put_image(store.content, random_image(seed))
    store.names.put(name, root)
    return root


def tag(digest: Digest, suffix: str = ".sig") -> str:
    return f"{digest.algorithm}-{digest.hex}{suffix}"


def test_attachments_are_no_images(store: LocalStore) -> None:
    root = named(store, "localhost/a:v1", 1)
    attachments = Attachments(store.content)
    attachments.add(root.digest, put_referrer(store.content, root.digest).descriptor)
    assert attachments.put(tag(root.digest), root.digest, put_referrer(store.content, root.digest).descriptor,
                           replaces=None)  # fmt: skip
    assert list(store.names.list()) == ["localhost/a:v1"]
    assert store.names.only() == root
    assert len(store.names.entries()) == 3


def test_adding_twice_lists_once(store: LocalStore) -> None:
    root = named(store, "localhost/a:v1", 1)
    referrer = put_referrer(store.content, root.digest).descriptor
    for _ in range(2):
        Attachments(store.content).add(root.digest, referrer)
    assert [d.digest for d in Attachments(store.content).referrers(root.digest)] == [referrer.digest]


def test_a_collection_keeps_what_belongs_to_a_kept_image(store: LocalStore) -> None:
    kept, gone = named(store, "localhost/a:v1", 1), named(store, "localhost/b:v1", 2)
    attachments = Attachments(store.content)
    for root in (kept, gone):
        referrer = put_referrer(store.content, root.digest, str(root.digest).encode())
        attachments.add(root.digest, referrer.descriptor)
        nested = put_referrer(store.content, referrer.digest, b"nested" + root.digest.hex.encode())
        attachments.add(referrer.digest, nested.descriptor)
        assert attachments.put(tag(root.digest), root.digest, nested.descriptor, replaces=None)
    assert store.collect().removed == ()

    store.names.remove("localhost/b:v1")
    removed = set(store.collect().removed)
    assert gone.digest in removed
    assert Digest.of(str(gone.digest).encode()) in removed
    assert Digest.of(b"nested" + gone.digest.hex.encode()) in removed
    assert attachments.referrers(gone.digest) == ()
    assert attachments.tagged(tag(gone.digest)) is None
    (referrer_kept,) = attachments.referrers(kept.digest)
    assert len(attachments.referrers(referrer_kept.digest)) == 1
    assert attachments.tagged(tag(kept.digest)) is not None
    assert Digest.of(str(kept.digest).encode()) in store.content
    assert store.collect().removed == ()


def test_a_damaged_attachment_does_not_keep_a_collection_from_working(store: LocalStore) -> None:
    root = named(store, "localhost/a:v1", 1)
    referrer = put_referrer(store.content, root.digest)
    Attachments(store.content).add(root.digest, referrer.descriptor)
    store.content.path(referrer.digest).write_bytes(b"damaged")
    assert referrer.digest in store.collect().removed
    assert Attachments(store.content).referrers(root.digest) == ()
    assert store.names.get("localhost/a:v1") == root


def test_a_tag_is_replaced_only_by_who_knows_what_lies_there(store: LocalStore) -> None:
    root = named(store, "localhost/a:v1", 1)
    attachments = Attachments(store.content)
    one, two = (put_referrer(store.content, root.digest, c).descriptor for c in (b"1", b"2"))
    assert attachments.put(tag(root.digest), root.digest, one, replaces=None)
    assert not attachments.put(tag(root.digest), root.digest, two, replaces=None)
    assert not attachments.put(tag(root.digest), root.digest, two, replaces=two.digest)
    assert attachments.tagged(tag(root.digest)) == one
    assert attachments.put(tag(root.digest), root.digest, two, replaces=one.digest)
    assert attachments.tagged(tag(root.digest)) == two


def test_many_at_once_lose_nothing(store: LocalStore) -> None:
    root = named(store, "localhost/a:v1", 1)
    referrers = [put_referrer(store.content, root.digest, bytes([i])).descriptor for i in range(8)]
    threads = [threading.Thread(target=Attachments(store.content).add, args=(root.digest, r)) for r in referrers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {d.digest for d in Attachments(store.content).referrers(root.digest)} == {r.digest for r in referrers}


# Layouts that others wrote


def rewrite(layout: OciLayout, *entries: Descriptor) -> None:
    index = {"schemaVersion": 2, "manifests": [e.to_dict() for e in entries]}
    (layout.root / "index.json").write_bytes(compact_json(index))


def test_referrers_listed_without_a_name(tmp_path: Path) -> None:
    """As oras lists them: the manifest itself says what it belongs to."""
    layout = OciLayout(tmp_path)
    root = put_image(layout, random_image(1))
    mine, foreign = (put_referrer(layout, d) for d in (root.digest, Digest.of(b"another")))
    rewrite(layout, root.annotated({"org.opencontainers.image.ref.name": "v1"}), mine.descriptor, foreign.descriptor)
    assert [d.digest for d in Attachments(layout).referrers(root.digest)] == [mine.digest]


def test_referrers_in_an_index_under_the_fallback_tag(tmp_path: Path) -> None:
    """As regclient lists them."""
    layout = OciLayout(tmp_path)
    root = put_image(layout, random_image(1))
    mine = put_referrer(layout, root.digest)
    fallback = Index(manifests=(mine.descriptor,))
    write_document(layout, fallback.content)
    rewrite(
        layout,
        root.annotated({"org.opencontainers.image.ref.name": "v1"}),
        fallback.descriptor.annotated({"org.opencontainers.image.ref.name": tag(root.digest, "")}),
    )
    assert [d.digest for d in Attachments(layout).referrers(root.digest)] == [mine.digest]
    assert list(Names(layout).list()) == ["v1"]


def test_entries_that_lead_nowhere_are_passed_over(tmp_path: Path) -> None:
    layout = OciLayout(tmp_path)
    root = put_image(layout, random_image(1))
    absent = Descriptor(media_type=media_types.MANIFEST, digest=Digest.of(b"absent"), size=6)
    blob = Descriptor.of("application/octet-stream", b"x")
    rewrite(layout, root, absent, blob)
    assert Attachments(layout).referrers(root.digest) == ()
    with pytest.raises(NotFound, match="3 images"):
        Names(layout).only()


def test_the_layout_stays_an_ordinary_one(store: LocalStore) -> None:
    """An entry is a plain descriptor with one annotation more."""
    root = named(store, "localhost/a:v1", 1)
    manifest = put_referrer(store.content, root.digest)
    Attachments(store.content).add(root.digest, manifest.descriptor)
    entry = json.loads((store.content.root / "index.json").read_bytes())["manifests"][1]
    assert entry == {
        "mediaType": media_types.MANIFEST,
        "digest": str(manifest.digest),
        "size": len(manifest.content),
        "annotations": {"dev.modelcar.subject": str(root.digest)},
    }
