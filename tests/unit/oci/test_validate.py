"""`validate` accepts true images and finds every lie."""

from __future__ import annotations

import gzip
import io
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, BinaryIO

import pytest

from modelcar.errors import DigestMismatch, InvalidContent, InvalidDocument, NotFound, SizeMismatch
from modelcar.oci import Descriptor, Digest, ImageConfig, Index, Manifest, Platform, media_types
from modelcar.oci.validate import MAX_NESTING, validate
from tests.support.images import open_in, random_image

LAYER = b"a layer"


def check(root: Descriptor, blobs: Mapping[Digest, bytes]) -> None:
    validate(root, open_in(blobs))


class Made:
    """One image of one layer, with whatever is wrong with it."""

    def __init__(self) -> None:
        self.blobs: dict[Digest, bytes] = {}
        self.layers = [self.add(LAYER, media_types.LAYER_TAR)]
        self.config: dict[str, Any] = {"os": "linux", "architecture": "amd64", "diff_ids": (Digest.of(LAYER),)}

    def add(self, content: bytes, media_type: str) -> Descriptor:
        self.blobs[Digest.of(content)] = content
        return Descriptor.of(media_type, content)

    def manifest(self) -> Descriptor:
        config = ImageConfig(**self.config)
        manifest = Manifest(config=self.add(config.content, config.media_type), layers=tuple(self.layers))
        return self.add(manifest.content, manifest.media_type)

    def index(self, *entries: Descriptor) -> Descriptor:
        index = Index(manifests=entries)
        return self.add(index.content, index.media_type)


@pytest.fixture
def made() -> Made:
    return Made()


@pytest.mark.parametrize("compressed", [False, True])
def test_true_images(compressed: bool) -> None:
    image = random_image(1, compressed=compressed)
    validate(image.root, open_in(image.blobs))


@pytest.mark.parametrize("i", range(8))
def test_a_missing_blob(i: int) -> None:
    image = random_image(2)
    blobs = dict(image.blobs)
    assert len(blobs) == 8
    del blobs[list(blobs)[i]]
    with pytest.raises(NotFound):
        check(image.root, blobs)


@pytest.mark.parametrize("i", range(8))
@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b + b" ", lambda b: b[:-2] + b"~" + b[-1:]])
def test_a_damaged_blob(i: int, damage: Any) -> None:
    image = random_image(2)
    blobs = dict(image.blobs)
    digest = list(blobs)[i]
    blobs[digest] = damage(blobs[digest])
    with pytest.raises(InvalidContent):
        check(image.root, blobs)


def test_diff_ids_of_other_layers(made: Made) -> None:
    made.config["diff_ids"] = (Digest.of(b"other"),)
    with pytest.raises(InvalidDocument, match="diff ids"):
        check(made.manifest(), made.blobs)


def test_history_of_other_layers(made: Made) -> None:
    made.config["history"] = ({"empty_layer": True}, {}, {})
    with pytest.raises(InvalidDocument, match="history has 2"):
        check(made.manifest(), made.blobs)


def test_a_platform_that_it_is_not_for(made: Made) -> None:
    manifest = made.manifest()
    true = replace(manifest, platform=Platform(os="linux", architecture="amd64"))
    false = replace(manifest, platform=Platform(os="linux", architecture="arm64"))
    check(made.index(true), made.blobs)
    with pytest.raises(InvalidDocument, match="listed for linux/arm64"):
        check(made.index(true, false), made.blobs)


def test_a_second_descriptor_that_lies_about_a_layer_seen_before(made: Made) -> None:
    first = made.manifest()
    made.layers = [replace(made.layers[0], size=len(LAYER) + 1)]
    with pytest.raises(SizeMismatch):
        check(made.index(first, made.manifest()), made.blobs)


def test_a_layer_that_is_compressed_in_one_manifest_and_not_in_the_other(made: Made) -> None:
    compressed = gzip.compress(LAYER)
    made.layers = [made.add(compressed, media_types.LAYER_TAR_GZIP)]
    first = made.manifest()
    made.layers = [made.add(compressed, media_types.LAYER_TAR)]
    with pytest.raises(InvalidDocument, match="diff ids"):
        check(made.index(first, made.manifest()), made.blobs)


@pytest.mark.parametrize(
    "content",
    [b"no gzip", gzip.compress(LAYER)[:-3], gzip.compress(LAYER)[:-8] + b"wrongsum", b"\x1f\x8b\x08" + b"\0" * 40],
    ids=["no gzip", "cut", "another checksum", "a header alone"],  # a gzip header holds the time
)
def test_a_layer_that_does_not_unpack(made: Made, content: bytes) -> None:
    made.layers = [made.add(content, media_types.LAYER_TAR_GZIP)]
    with pytest.raises(InvalidDocument, match="does not unpack"):
        check(made.manifest(), made.blobs)


def test_what_cannot_be_recomputed_is_not_passed(made: Made) -> None:
    made.layers = [replace(made.layers[0], media_type=media_types.LAYER_TAR_ZSTD)]
    with pytest.raises(InvalidDocument, match="cannot be computed"):
        check(made.manifest(), made.blobs)


def test_artifacts_and_entries_that_are_no_documents(made: Made) -> None:
    empty = made.add(b"{}", media_types.EMPTY)
    artifact = Manifest(config=empty, layers=(made.add(b"bundle", "application/x"),), artifact_type="application/x")
    entry = made.add(artifact.content, artifact.media_type)
    plain = made.add(b"not JSON", "text/plain")
    check(made.index(entry, plain), made.blobs)
    made.blobs[Digest.of(b"bundle")] = b"bungle"
    with pytest.raises(DigestMismatch):
        check(entry, made.blobs)
    with pytest.raises(SizeMismatch):
        check(made.index(replace(plain, size=9)), made.blobs)


def test_modelpack_diff_ids(made: Made) -> None:
    config = made.add(b'{"modelfs":{"type":"layers","diffIds":["%s"]}}' % str(Digest.of(LAYER)).encode(), "x")
    manifest = Manifest(config=replace(config, media_type=media_types.MODELPACK_CONFIG), layers=tuple(made.layers))
    check(made.add(manifest.content, manifest.media_type), made.blobs)
    twice = manifest.append(made.layers[0])
    with pytest.raises(InvalidDocument, match="diff ids"):
        check(made.add(twice.content, twice.media_type), made.blobs)


def test_an_index_that_lists_itself_many_times_over_is_read_once(made: Made) -> None:
    opened = []

    def open_blob(digest: Digest) -> AbstractContextManager[BinaryIO]:
        opened.append(digest)
        return io.BytesIO(made.blobs[digest])

    root = made.manifest()
    for _ in range(MAX_NESTING):
        root = made.index(root, root, root, root)
    validate(root, open_blob)
    assert len(opened) == MAX_NESTING + 3


def test_endless_nesting(made: Made) -> None:
    root = made.manifest()
    for _ in range(MAX_NESTING + 1):
        root = made.index(root)
    with pytest.raises(InvalidDocument, match="nested"):
        check(root, made.blobs)


def test_a_document_of_gigabytes_is_not_read(made: Made) -> None:
    with pytest.raises(InvalidDocument, match="too many"):
        check(replace(made.manifest(), size=1 << 40), made.blobs)
