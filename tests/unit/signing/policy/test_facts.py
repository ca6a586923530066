"""What policies get to know of an image: everything that its digest covers, however deep it lies."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelcar.layers.bytemap import Literal
from modelcar.layers.hashing import Chunk
from modelcar.layers.index import INDEX_PATH, IndexedFile, IndexedLayer, ModelIndex
from modelcar.layers.tar import Entry, build_tar
from modelcar.oci import Descriptor, Digest, Index, Manifest, media_types
from modelcar.packaging.annotations import LAYER
from modelcar.packaging.inspect import inspect_image
from modelcar.packaging.plan import LayerKind
from modelcar.signing.policy import ImageFacts
from tests.support.images import Documents, describe
from tests.support.policies import REFERENCE, cluster_image_policy, decide, deny_list, model_policy

CONTENT = b"weights"
MODEL = Descriptor.of(media_types.LAYER_TAR, CONTENT)
SAFE = model_policy(formats={"allowed": ["safetensors"]}, customCode="deny")


def index_layer(*, form: str = "safetensors", layer: Descriptor = MODEL) -> tuple[Descriptor, bytes]:
    """A layer with a model index in it: one weight file, all of `layer`."""
    file = IndexedFile(path="model.weights", offset=0, size=layer.size, role="weight", format=form)
    return packed(layer, (Chunk(offset=0, size=layer.size, digest=layer.digest),), file)


def packed(layer: Descriptor, chunks: tuple[Chunk, ...], file: IndexedFile) -> tuple[Descriptor, bytes]:
    listed = IndexedLayer(
        digest=layer.digest, size=layer.size, media_type=layer.media_type, chunks=chunks, files=(file,)
    )
    tar = build_tar([Entry(path=INDEX_PATH, content=Literal(ModelIndex(root="/models", layers=(listed,)).to_json()))])
    with tar.content.open() as reader:
        blob = reader.read()
    return Descriptor.of(media_types.LAYER_TAR, blob).annotated({LAYER: LayerKind.INDEX}), blob


INDEX_LAYER, INDEX_BLOB = index_layer()


def facts(root: Index | Manifest, *parts: Documents | Index, blobs: tuple[bytes, ...] = ()) -> ImageFacts:
    """What there is to know of the image at `root`, which consists of these parts."""
    known = {Digest.of(blob): blob for blob in (INDEX_BLOB, *blobs)} | {root.digest: root.content}
    for part in parts:
        known |= part.blobs if isinstance(part, Documents) else {part.digest: part.content}
    return ImageFacts.of(REFERENCE, inspect_image(root.descriptor, lambda d: known[d.digest]))


IMAGE = describe([MODEL, INDEX_LAYER])
EVERYBODY = cluster_image_policy({"static": {"action": "pass"}})


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_revoked_content_is_found_however_deep_indexes_nest(depth: int) -> None:
    root, nested = IMAGE.index, [IMAGE.index]
    for _ in range(depth):
        root = Index(manifests=(root.descriptor,))
        nested.append(root)
    image = facts(root, IMAGE, *nested)
    revoked = [MODEL.digest, IMAGE.configs[1].digest, IMAGE.manifests[0].digest, *(index.digest for index in nested)]
    for digest in revoked:
        decision = decide(EVERYBODY, deny_list(digest), image=image)
        assert not decision.allowed
        assert f"{digest} is revoked" in decision.reasons[0]
    assert decide(EVERYBODY, deny_list(Digest.of(b"unrelated")), image=image).allowed


def test_what_an_index_lists_is_found_whatever_it_is() -> None:
    other = Descriptor.of("application/octet-stream", b"something else")
    index = Index(manifests=(*IMAGE.index.manifests, other))
    assert not decide(EVERYBODY, deny_list(other.digest), image=facts(index, IMAGE)).allowed
    assert decide(EVERYBODY, deny_list(other.digest), image=facts(IMAGE.index, IMAGE)).allowed


def test_a_document_is_found_by_its_sha256_if_it_is_listed_by_another_algorithm() -> None:
    manifest = IMAGE.manifests[0]
    entry = replace(manifest.descriptor, digest=Digest.of(manifest.content, "sha512"))
    index = Index(manifests=(entry,))
    known = {**IMAGE.blobs, Digest.of(INDEX_BLOB): INDEX_BLOB, index.digest: index.content}
    known[entry.digest] = manifest.content
    image = ImageFacts.of(REFERENCE, inspect_image(index.descriptor, lambda d: known[d.digest]))
    for digest in (manifest.digest, entry.digest):
        assert not decide(EVERYBODY, deny_list(digest), image=image).allowed


def test_a_small_file_is_found_by_its_digest_without_content_digests() -> None:
    large = b"a header of a tar " + CONTENT
    layer = Descriptor.of(media_types.LAYER_TAR, large)
    file = IndexedFile(path="config.json", offset=18, size=len(CONTENT), role="config")
    chunks = (
        Chunk(offset=0, size=18, digest=Digest.of(large[:18])),
        Chunk(offset=18, size=len(CONTENT), digest=Digest.of(CONTENT)),
    )
    described, blob = packed(layer, chunks, file)
    image = describe([layer, described])
    decision = decide(EVERYBODY, deny_list(Digest.of(CONTENT)), image=facts(image.index, image, blobs=(blob,)))
    assert "the file config.json" in decision.reasons[0]


def test_rules_hold_for_every_manifest_and_not_for_the_first_alone() -> None:
    assert decide(SAFE, image=facts(IMAGE.index, IMAGE)).allowed
    pickled, blob = index_layer(form="pickle")
    other = describe([MODEL, pickled], platforms=1)
    both = Index(manifests=(*IMAGE.index.manifests[1:], *other.index.manifests))
    decision = decide(SAFE, image=facts(both, IMAGE, other, blobs=(blob,)))
    assert not decision.allowed
    assert "model.weights (pickle)" in decision.reasons[0]


def test_a_manifest_that_no_index_knows_leaves_the_image_unknown() -> None:
    unknown = describe([Descriptor.of(media_types.LAYER_TAR, b"anything")], platforms=1)
    both = Index(manifests=(*IMAGE.index.manifests, *unknown.index.manifests))
    decision = decide(SAFE, image=facts(both, IMAGE, unknown))
    assert not decision.allowed
    assert "a manifest in it, has no model index" in decision.reasons[0]


def test_an_index_that_leaves_a_layer_out_leaves_the_image_unknown() -> None:
    """Else a signed index of nothing would make any model one of safe formats."""
    other = Descriptor.of(media_types.LAYER_TAR, b"pickles")
    image = describe([other, MODEL, INDEX_LAYER], platforms=1)
    decision = decide(SAFE, image=facts(image.index, image))
    assert not decision.allowed
    assert "has no model index" in decision.reasons[0]


def test_the_base_above_an_index_is_not_the_model() -> None:
    base = Descriptor.of(media_types.LAYER_TAR, b"a shell")
    image = describe([MODEL, INDEX_LAYER, base], platforms=1)
    assert decide(SAFE, image=facts(image.index, image)).allowed


def test_a_twin_of_the_same_layers_needs_no_index() -> None:
    plain = replace(INDEX_LAYER, annotations={})
    twin = describe([MODEL, plain], platforms=1)
    both = Index(manifests=(*IMAGE.index.manifests, *twin.index.manifests))
    assert decide(SAFE, image=facts(both, IMAGE, twin)).allowed
