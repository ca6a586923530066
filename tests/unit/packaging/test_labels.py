"""What layers are called for people: the shard's file, where modelcar built the image."""

from __future__ import annotations

from pathlib import Path

from modelcar.oci import Descriptor, Digest, ImageConfig, Manifest, media_types
from modelcar.packaging.base import foreign_bases
from modelcar.packaging.fetch import StoreSource, choose_manifest
from modelcar.packaging.labels import image_labels, layer_labels
from modelcar.store import LocalStore
from tests.unit.packaging.bases import AMD64, add_base
from tests.unit.packaging.conftest import Build

LAYERS = tuple(Descriptor.of(media_types.LAYER_TAR, bytes([i])) for i in range(2))


def labels_of(*history: dict[str, object]) -> dict[Digest, str]:
    config = ImageConfig(
        architecture="amd64", os="linux", diff_ids=tuple(d.digest for d in LAYERS), history=tuple(history)
    )
    return layer_labels(Manifest(config=config.descriptor, layers=LAYERS), lambda _: config.content)


def test_shards_have_the_names_of_their_files(folder: Path, store: LocalStore, build: Build) -> None:
    bases = foreign_bases(store.content, add_base(store, AMD64).descriptor, None, "base")
    image = build(folder, bases)
    labels = image_labels(StoreSource(store.content, image.index), image.index)
    assert list(labels.values()) == [
        *(f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)),
        "5 small files",
        ".modelcar/index.json",
    ]
    assert list(labels) == [layer.descriptor.digest for layer in image.layers[:5]]


def test_steps_without_a_layer_are_passed_over() -> None:
    ours: dict[str, object] = {"created_by": "modelcar weights", "comment": "a"}
    assert labels_of(ours, {"created_by": "ENV", "empty_layer": True}, ours) == {d.digest: "a" for d in LAYERS}


def test_what_cannot_be_told_has_no_name(folder: Path, store: LocalStore, build: Build) -> None:
    ours: dict[str, object] = {"created_by": "modelcar weights", "comment": "a"}
    assert labels_of() == {}
    assert labels_of(ours) == {}, "it cannot be said which layer is meant"
    assert labels_of({"created_by": "RUN x", "comment": "a"}, {"created_by": "modelcar x"}) == {}
    image = build(folder)
    source = StoreSource(store.content, image.index)
    assert image_labels(source, image.modelpack) == {}
    manifest = choose_manifest(source, image.index)
    store.content.delete(manifest.config.digest)
    assert layer_labels(manifest, source.read) == {}
    store.content.delete(image.index.digest)
    assert image_labels(source, image.index) == {}
