"""Images from stores, layouts and registries behind one interface."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from modelcar.errors import DigestMismatch, InvalidDocument, NotFound, RemoteNotFound, UsageError
from modelcar.oci import Digest, Index, Platform, Reference
from modelcar.packaging.base import DEFAULT_PLATFORMS
from modelcar.packaging.fetch import (
    ImageSource,
    LayoutSource,
    RegistrySource,
    StoreSource,
    bring_image,
    choose_manifest,
)
from modelcar.packaging.locations import LayoutLocation, Location
from modelcar.registry import Registry
from modelcar.store import LocalStore, Names, OciLayout, write_document
from modelcar.store.tree import walk
from registry_shim.testing import running_registry
from tests.support.images import put_image, random_image, validate_in

pytestmark = pytest.mark.slow

IMAGE = random_image(1, sizes=(1000, 2000), platforms=3)
ARM64 = Platform.parse("linux/arm64")


@pytest.fixture(scope="module")
def registry() -> Iterator[str]:
    with running_registry() as address:
        yield address


@pytest.fixture
def client() -> Iterator[Registry]:
    with Registry() as client:
        yield client


@pytest.fixture
def layout(tmp_path: Path) -> OciLayout:
    layout = OciLayout(tmp_path / "layout")
    Names(layout).put("v1", put_image(layout, IMAGE))
    return layout


@pytest.fixture
def ref(registry: str, client: Registry, layout: OciLayout) -> Reference:
    ref = Reference.parse(f"{registry}/org/image:v1")
    client.push(layout, IMAGE.root, ref)
    return ref


@pytest.fixture(params=["store", "layout", "only image of a layout", "registry", "registry by digest"])
def source(request: pytest.FixtureRequest, layout: OciLayout, ref: Reference, client: Registry) -> ImageSource:
    by_digest = Reference(registry=ref.registry, repository=ref.repository, digest=IMAGE.root.digest)
    sources: dict[str, ImageSource] = {
        "store": StoreSource(layout, IMAGE.root),
        "layout": LayoutSource(LayoutLocation(layout.root, "v1")),
        "only image of a layout": LayoutSource(LayoutLocation(layout.root)),
        "registry": RegistrySource(ref, client),
        "registry by digest": RegistrySource(by_digest, client),
    }
    return sources[request.param]


def test_every_source_gives_the_same(source: ImageSource) -> None:
    assert source.resolve() == IMAGE.root
    index = source.document(IMAGE.root)
    assert isinstance(index, Index)
    assert source.read(IMAGE.root) == index.content
    manifest = choose_manifest(source, IMAGE.root)
    assert manifest == source.document(index.manifests[0])
    assert Digest.of(source.read(manifest.config)) == manifest.config.digest
    layer = manifest.layers[0]
    with source.open_layer(layer) as stream:
        content = stream.read(300)
        while data := stream.read(300):
            content += data
    assert Digest.of(content) == layer.digest


def test_a_platform_is_chosen(source: ImageSource) -> None:
    index = source.document(IMAGE.root)
    assert isinstance(index, Index)
    assert choose_manifest(source, IMAGE.root, ARM64) == source.document(index.manifests[1])
    with pytest.raises(UsageError, match=r"no image for linux/s390x; it has linux/amd64, linux/arm64, linux/riscv64"):
        choose_manifest(source, IMAGE.root, Platform.parse("linux/s390x"))


def test_what_is_not_there(layout: OciLayout, registry: str, client: Registry) -> None:
    with pytest.raises(NotFound, match="no image v2"):
        LayoutSource(LayoutLocation(layout.root, "v2"))
    with pytest.raises(NotFound, match="there is no folder"):
        LayoutSource(LayoutLocation(layout.root / "none"))
    with pytest.raises(NotFound, match="is not an OCI image layout"):
        LayoutSource(LayoutLocation(layout.root / "blobs"))
    with pytest.raises(RemoteNotFound):
        RegistrySource(Reference.parse(f"{registry}/no/such:v1"), client).resolve()


def test_a_damaged_layer_is_noticed_before_its_end(layout: OciLayout) -> None:
    source = LayoutSource(LayoutLocation(layout.root))
    layer = choose_manifest(source, IMAGE.root).layers[0]
    path = layout.path(layer.digest)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with source.open_layer(layer) as stream, pytest.raises(DigestMismatch):
        list(iter(lambda: stream.read(300), b""))


def test_a_manifest_alone_is_its_own_choice_and_an_index_of_nothing_has_none(layout: OciLayout) -> None:
    manifest = choose_manifest(StoreSource(layout, IMAGE.root), IMAGE.root)
    assert choose_manifest(StoreSource(layout, manifest.descriptor), manifest.descriptor) == manifest
    unknown = Platform(os="unknown", architecture="unknown")
    inner = Index(manifests=(manifest.descriptor,))
    write_document(layout, inner.content)
    for entries in ((), (replace(manifest.descriptor, platform=unknown),), (inner.descriptor,)):
        index = Index(manifests=entries)
        write_document(layout, index.content)
        with pytest.raises(InvalidDocument, match="is an index without an image in it"):
            choose_manifest(StoreSource(layout, index.descriptor), index.descriptor)


def test_an_image_is_brought_whole(tmp_path: Path, layout: OciLayout, ref: Reference, client: Registry) -> None:
    locations: list[Location] = [ref, LayoutLocation(layout.root, "v1")]
    for number, location in enumerate(locations):
        store = LocalStore(tmp_path / str(number))
        assert bring_image(location, store, client) == IMAGE.root
        validate_in(store.content, IMAGE.root)


def test_of_an_image_only_some_platforms_are_brought(tmp_path: Path, ref: Reference, client: Registry) -> None:
    store = LocalStore(tmp_path / "home")
    assert bring_image(ref, store, client, [*DEFAULT_PLATFORMS, Platform.parse("linux/s390x")]) == IMAGE.root
    index = StoreSource(store.content, IMAGE.root).document(IMAGE.root)
    assert isinstance(index, Index)
    assert [entry.digest in store.content for entry in index.manifests] == [True, True, False]
    for entry in index.manifests[:2]:
        assert len(list(walk(store.content, entry))) == 4  # a manifest, its config, two layers


def test_a_single_image_is_brought_whatever_the_platform(
    tmp_path: Path, layout: OciLayout, registry: str, client: Registry
) -> None:
    manifest = choose_manifest(StoreSource(layout, IMAGE.root), IMAGE.root)
    ref = Reference.parse(f"{registry}/org/single:v1")
    client.push(layout, manifest.descriptor, ref)
    store = LocalStore(tmp_path / "home")
    assert bring_image(ref, store, client, DEFAULT_PLATFORMS) == manifest.descriptor
    validate_in(store.content, manifest.descriptor)
