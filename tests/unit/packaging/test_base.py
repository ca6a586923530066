"""Bases: the holder, nothing, and other people's images."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelcar.errors import InvalidDocument, UsageError
from modelcar.oci import Descriptor, Digest, ImageConfig, Index, Manifest, Platform, media_types
from modelcar.oci.validate import validate
from modelcar.packaging.base import foreign_bases, holder_base, scratch_base
from modelcar.store import LocalStore, read_document, write_document
from modelcar.store.tree import load
from tests.unit.packaging.bases import AMD64, ARM64, add_base
from tests.unit.packaging.conftest import Build


def add_index(store: LocalStore, *platforms: Platform) -> Descriptor:
    entries = [
        Descriptor(media_type=m.media_type, digest=m.digest, size=len(m.content), platform=p)
        for p, m in ((p, add_base(store, p)) for p in platforms)
    ]
    index = Index(manifests=tuple(entries))
    write_document(store.content, index.content)
    return index.descriptor


def test_a_foreign_base_lies_on_top_and_keeps_its_configuration(folder: Path, store: LocalStore, build: Build) -> None:
    bases = foreign_bases(store.content, add_index(store, AMD64, ARM64), None, "base")
    image = build(folder, bases)
    validate(image.index, store.content.open)  # type: ignore[arg-type]  # its readers have what is used of a file
    index = load(store.content, image.index)
    assert isinstance(index, Index)
    assert [str(m.platform) for m in index.manifests] == ["linux/amd64", "linux/arm64", "unknown/unknown"]
    manifest = load(store.content, index.manifests[0])
    assert isinstance(manifest, Manifest)
    assert manifest.layers[-1].digest == bases[0].layers[0].digest
    config = ImageConfig.parse(read_document(store.content, manifest.config))
    assert config.runtime["Entrypoint"] == ["/bin/sh"]
    assert config.runtime["Labels"]["base"] == "yes"
    assert config.rest == {"author": "someone"}


def test_docker_layers_get_their_oci_names(store: LocalStore) -> None:
    manifest = add_base(store, AMD64, media_types.DOCKER_LAYER)
    (base,) = foreign_bases(store.content, manifest.descriptor, None, "base")
    assert base.layers[0].media_type == media_types.LAYER_TAR


def test_a_platform_that_the_base_lacks_is_named(store: LocalStore) -> None:
    root = add_index(store, AMD64)
    with pytest.raises(UsageError, match=r"no image for linux/arm64; it has linux/amd64"):
        foreign_bases(store.content, root, [ARM64], "base")
    assert len(foreign_bases(store.content, root, None, "base")) == 1
    with pytest.raises(UsageError, match="is for linux/amd64 only"):
        foreign_bases(store.content, add_base(store, AMD64).descriptor, [ARM64], "base")
    with pytest.raises(UsageError, match="neither linux/amd64 nor linux/arm64"):
        foreign_bases(store.content, add_index(store, Platform.parse("linux/s390x")), None, "base")


def test_an_artifact_is_no_base(store: LocalStore) -> None:
    manifest = Manifest(config=Descriptor.of("application/x", b"{}"))
    for content in (b"{}", manifest.content):
        write_document(store.content, content)
    with pytest.raises(InvalidDocument, match="not a container image"):
        foreign_bases(store.content, manifest.descriptor, None, "base")


def test_holder_and_scratch(folder: Path, store: LocalStore, build: Build) -> None:
    assert holder_base(AMD64).config.runtime["Entrypoint"] == ["/.modelcar/holder"]
    with pytest.raises(UsageError, match="no holder for linux/s390x"):
        holder_base(Platform.parse("linux/s390x"))
    image = build(folder, [scratch_base(Platform.parse("linux/s390x"))])
    validate(image.index, store.content.open)  # type: ignore[arg-type]  # its readers have what is used of a file
    assert {layer.descriptor.digest for layer in image.layers} & set(holder_base(AMD64).blobs) == set()
    assert isinstance(next(iter(holder_base(AMD64).blobs)), Digest)
