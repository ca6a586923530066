"""What belongs together."""

from __future__ import annotations

from modelcar.cache.stored import scan
from modelcar.oci import Digest
from modelcar.oci.media_types import MANIFEST
from registry_shim.space.catalogue import Catalogue, read_blob
from registry_shim.space.evict import Image
from registry_shim.space.uses import Uses

from .node import Node, blob_path, upstream_places


def images(node: Node) -> list[Image]:
    return catalogue(node).images()


def catalogue(node: Node) -> Catalogue:
    return Catalogue(lambda: upstream_places(node.root), read_blob(node.root))


def test_an_index_is_one_image_with_its_manifests(node: Node) -> None:
    shared = node.layer(1)
    amd, arm = node.image("r.example/m", shared, config=b"{1}"), node.image("r.example/m", shared, config=b"{2}")
    index = node.index("r.example/m:v1", {"linux/amd64": amd, "linux/arm64": arm})
    (image,) = images(node)
    assert image.documents == (index.digest, amd.digest, arm.digest)
    assert set(image.blobs) == {shared.digest, Digest.of(b"{1}"), Digest.of(b"{2}")}
    assert image.names == ("r.example/m:v1",)


def test_an_image_is_whole_once_one_platform_is(node: Node) -> None:
    amd, arm = node.image("r.example/m", node.layer(1), config=b"{1}"), node.image("r.example/m", node.layer(2))
    attestation = node.image("r.example/m", config=b"{3}")
    node.index("r.example/m:v1", {"linux/amd64": amd, "linux/arm64": arm, "unknown/unknown": attestation})
    (image,) = images(node)
    uses = Uses(node.root / "uses.json")
    assert image.is_whole(scan(node.root, uses.of))
    for layer in (node.layer(1), node.layer(2)):
        blob_path(node.root, layer.digest).unlink()
    assert not image.is_whole(scan(node.root, uses.of)), "the attestation alone is no image"


def test_signatures_belong_to_what_they_sign_by_whichever_way(node: Node) -> None:
    signed = node.image("r.example/m:v1", node.layer(1))
    legacy = node.image(f"r.example/m:sha256-{signed.digest.hex}.sig", node.layer(2), config=b"{2}")
    referrer = node.image("r.example/m", node.layer(3), config=b"{3}", subject=signed.to_dict())
    listing = node.index(f"r.example/m:sha256-{signed.digest.hex}", {"linux/amd64": referrer})
    (image,) = images(node)
    assert image.documents[0] == signed.digest
    assert set(image.documents[1:]) == {legacy.digest, referrer.digest, listing.digest}
    assert image.names == ("r.example/m:v1",)


def test_signatures_of_what_is_not_here_are_images_of_their_own(node: Node) -> None:
    legacy = node.image(f"r.example/m:sha256-{'0' * 64}.sig", node.layer(2))
    (image,) = images(node)
    assert image.root == legacy.digest


def test_tags_that_claim_to_sign_each_other_hide_nothing(node: Node) -> None:
    a, b = node.image("r.example/m", node.layer(1), config=b"a"), node.image("r.example/m", node.layer(2), config=b"b")
    repository, _ = node.repository("r.example/m")
    repository.set_tag(f"sha256-{a.digest.hex}.sig", b.digest)
    repository.set_tag(f"sha256-{b.digest.hex}.sig", a.digest)
    (image,) = images(node)
    assert set(image.documents) == {a.digest, b.digest}


def test_the_same_image_in_two_repositories_is_one_with_two_names(node: Node) -> None:
    layer = node.layer(1)
    manifest = node.image("a.example/m:v1", layer)
    assert node.image("b.example/n:v2", layer) == manifest
    known = catalogue(node)
    (image,) = known.images()
    assert set(image.names) == {"a.example/m:v1", "b.example/n:v2"}
    known.forget(manifest.digest)
    assert known.images() == []


def test_manifests_whose_bytes_are_gone_or_damaged_are_no_images(node: Node) -> None:
    gone, damaged = node.image("r.example/gone:v1", node.layer(1)), node.document("r.example/d:v1", MANIFEST, {}, age=1)
    blob_path(node.root, gone.digest).unlink()
    assert node.has(damaged)
    assert images(node) == []


def test_a_manifest_that_comes_later_is_seen(node: Node) -> None:
    known = catalogue(node)
    manifest = node.image("r.example/m:v1", node.layer(1))
    content = blob_path(node.root, manifest.digest).read_bytes()
    blob_path(node.root, manifest.digest).unlink()
    assert known.images() == []
    node.blob(content)
    assert len(known.images()) == 1


def test_tags_are_found_by_their_full_names(node: Node) -> None:
    manifest = node.image("localhost:5000/org/m:v1", node.layer(1))
    known = catalogue(node)
    assert known.tag("localhost:5000/org/m:v1") == manifest.digest
    assert known.tag("localhost:5000/org/m:v2") is None
    assert known.tag("elsewhere/org/m:v1") is None
