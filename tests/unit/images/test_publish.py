"""The image under its tag, its ModelPack twin under another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modelcar.errors import InvalidReference, RemoteNotFound
from modelcar.images.publish import find_twin, publish_image, twin_tag
from modelcar.oci import Index, Reference, media_types
from modelcar.registry import Registry
from modelcar.store import LocalStore
from modelcar.store.tree import load
from registry_shim.testing import running_registry
from tests.support.images import put_image, random_image
from tests.unit.packaging.conftest import Build

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def registry() -> Iterator[str]:
    with running_registry() as address:
        yield address


@pytest.fixture
def client() -> Iterator[Registry]:
    with Registry() as client:
        yield client


def test_the_twin_is_tagged_as_well(
    folder: Path, store: LocalStore, build: Build, registry: str, client: Registry
) -> None:
    image = build(folder)
    ref = Reference.parse(f"{registry}/org/tiny:v1")
    publish_image(client, store.content, image.index, ref)
    assert client.resolve(ref) == image.index
    twin = client.manifest(ref.with_tag("v1-modelpack"))
    assert twin.descriptor == image.modelpack
    assert twin.artifact_type == media_types.MODELPACK_MANIFEST


def test_what_has_no_twin_or_no_tag(
    folder: Path, store: LocalStore, build: Build, registry: str, client: Registry
) -> None:
    foreign = random_image(1)
    put_image(store.content, foreign)
    ref = Reference.parse(f"{registry}/org/foreign:v1")
    publish_image(client, store.content, foreign.root, ref)
    image = build(folder)
    by_digest = Reference(registry=ref.registry, repository=ref.repository, digest=image.index.digest)
    publish_image(client, store.content, image.index, by_digest)
    assert client.resolve(by_digest) == image.index
    publish_image(client, store.content, image.modelpack, ref.with_tag("twin"))
    assert list(client.tags(ref)) == ["twin", "v1"]


def test_a_tag_that_is_too_long_sends_nothing(
    folder: Path, store: LocalStore, build: Build, registry: str, client: Registry
) -> None:
    image = build(folder)
    ref = Reference.parse(f"{registry}/org/long:{'x' * 119}")
    with pytest.raises(InvalidReference, match="is too long"):
        publish_image(client, store.content, image.index, ref)
    with pytest.raises(RemoteNotFound):
        client.resolve(ref)
    assert twin_tag("x" * 118) == "x" * 118 + "-modelpack"


def test_only_an_entry_that_says_so_is_the_twin(folder: Path, store: LocalStore, build: Build) -> None:
    image = build(folder)
    index = load(store.content, image.index)
    assert isinstance(index, Index)
    assert find_twin(index) == image.modelpack
    assert find_twin(load(store.content, index.manifests[0])) is None
    assert find_twin(random_image(1).documents.index) is None
