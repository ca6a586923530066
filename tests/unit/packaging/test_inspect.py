"""What an image says of itself, and what of it is believed."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelcar.errors import InvalidContent, NotFound
from modelcar.layers.bytemap import Literal
from modelcar.layers.hashing import Chunk
from modelcar.layers.index import INDEX_PATH, IndexedLayer, ModelIndex
from modelcar.layers.tar import Entry, build_tar
from modelcar.oci import Descriptor, Digest, ImageConfig, Index, Manifest, media_types
from modelcar.packaging.annotations import LAYER
from modelcar.packaging.inspect import Inspected, inspect_image
from modelcar.store import LocalStore, read_document, write_document
from tests.unit.packaging.conftest import Build


def inspect(store: LocalStore, root: Descriptor) -> Inspected:
    return inspect_image(root, lambda descriptor: read_document(store.content, descriptor))


def put(store: LocalStore, *layers: tuple[Descriptor, bytes], **of_manifest: object) -> Descriptor:
    """An image of these layers."""
    config = ImageConfig(architecture="amd64", os="linux", diff_ids=tuple(layer.digest for layer, _ in layers))
    manifest = Manifest(config=config.descriptor, layers=tuple(layer for layer, _ in layers), **of_manifest)  # type: ignore[arg-type]  # settings by their names
    for content in (*(content for _, content in layers), config.content, manifest.content):
        write_document(store.content, content)
    return manifest.descriptor


def index_layer(content: bytes, path: str = INDEX_PATH) -> tuple[Descriptor, bytes]:
    with build_tar([Entry(path=path, content=Literal(content))]).content.open() as reader:
        blob = reader.read()
    return Descriptor.of(media_types.LAYER_TAR, blob).annotated({LAYER: "index"}), blob


def test_an_image_of_ours(folder: Path, store: LocalStore, build: Build) -> None:
    image = build(folder)
    inspected = inspect(store, image.index)
    assert inspected.root == image.index
    assert [m.kind for m in inspected.manifests] == ["image", "image", "modelpack"]
    assert inspected.manifests[0].size == sum(layer.descriptor.size for layer in image.layers[:6])
    assert inspected.model is not None
    assert [layer.digest for layer in inspected.model.layers] == [layer.descriptor.digest for layer in image.layers[:4]]
    files = inspected.to_dict()["files"]
    assert sum(file["size"] for file in files) == image.model_size
    assert [file["tensors"] for file in files] == [1, 1, 1, 0, 0, 0, 0, 0]


def test_one_manifest_alone(folder: Path, store: LocalStore, build: Build) -> None:
    twin = inspect(store, build(folder).modelpack)
    (manifest,) = twin.manifests
    assert (manifest.kind, manifest.config, twin.model) == ("modelpack", None, None)
    assert manifest.to_dict().keys() == {"digest", "kind", "mediaType", "size", "annotations", "layers"}
    assert "files" not in twin.to_dict()


def test_kinds_of_artifacts(store: LocalStore) -> None:
    layer = (Descriptor.of("text/plain", b"x"), b"x")
    for artifact_type, media_type, kind in (
        ("application/sbom", media_types.EMPTY, "application/sbom"),
        (None, "application/vnd.example.config", "application/vnd.example.config"),
    ):
        config = Descriptor.of(media_type, b"{}")
        manifest = Manifest(config=config, layers=(layer[0],), artifact_type=artifact_type)
        for content in (b"{}", b"x", manifest.content):
            write_document(store.content, content)
        (inspected,) = inspect(store, manifest.descriptor).manifests
        assert (inspected.kind, inspected.config) == (kind, None)


def test_what_the_manifest_does_not_list_is_void_in_the_index(store: LocalStore) -> None:
    """Or a publisher could describe layers that are not in the image."""
    weights = (Descriptor.of(media_types.LAYER_TAR, b"weights"), b"weights")

    def indexed(content: bytes) -> IndexedLayer:
        digest = Digest.of(content)
        chunks = (Chunk(offset=0, size=len(content), digest=digest),)
        return IndexedLayer(digest=digest, size=len(content), media_type=media_types.LAYER_TAR, chunks=chunks, files=())

    index = ModelIndex(root="/models", layers=(indexed(b"weights"), indexed(b"elsewhere")))
    model = inspect(store, put(store, weights, index_layer(index.to_json()))).model
    assert model is not None
    assert [layer.digest for layer in model.layers] == [weights[0].digest]


@pytest.mark.parametrize("path", [INDEX_PATH, "elsewhere.json"])
def test_an_index_layer_without_an_index(store: LocalStore, path: str) -> None:
    with pytest.raises(InvalidContent):
        inspect(store, put(store, index_layer(b"{}", path)))


def test_a_compressed_index_layer_is_void(store: LocalStore) -> None:
    layer = Descriptor.of(media_types.LAYER_TAR_GZIP, b"gzip").annotated({LAYER: "index"})
    assert inspect(store, put(store, (layer, b"gzip"))).model is None


def test_entries_that_are_no_manifests_are_passed_over_and_missing_ones_are_said(store: LocalStore) -> None:
    there = put(store)
    index = Index(manifests=(Descriptor.of("text/plain", b"not here"), there))
    write_document(store.content, index.content)
    assert [m.descriptor for m in inspect(store, index.descriptor).manifests] == [there]
    missing = Index(manifests=(there, Descriptor.of(media_types.MANIFEST, b"not here")))
    write_document(store.content, missing.content)
    with pytest.raises(NotFound):
        inspect(store, missing.descriptor)
