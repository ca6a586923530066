"""Images for other lazy snapshotters: eStargz layers, and a SOCI index over plain ones."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from modelcar.checkpoint import open_checkpoint
from modelcar.errors import SourceChanged, UsageError
from modelcar.layers.bytemap import ByteReader
from modelcar.layers.estargz import TOC_DIGEST, UNCOMPRESSED_SIZE
from modelcar.oci import Descriptor, Digest, ImageConfig, Manifest, Reference, media_types
from modelcar.oci.validate import validate
from modelcar.packaging.build import BuiltImage
from modelcar.packaging.fetch import StoreSource, choose_manifest
from modelcar.packaging.inspect import inspect_image, parse_index_layer
from modelcar.packaging.plan import LayerKind, Packing, plan_layers
from modelcar.packaging.unpack import unpack_model
from modelcar.signing.attestations.files import content_digest, files_of
from modelcar.signing.policy.facts import ImageFacts
from modelcar.store import LocalStore, OciLayout, read_document
from modelcar.store.transfer import copy_image
from tests.support.checkpoints import files_of as files_in
from tests.support.checkpoints import make_checkpoint
from tests.support.estargz import read_estargz
from tests.unit.packaging.conftest import Build

PACKINGS = [Packing.ESTARGZ, Packing.SOCI]


def manifest_of(store: LocalStore, image: BuiltImage) -> Manifest:
    return choose_manifest(StoreSource(store.content, image.index), image.index)


def blob(store: LocalStore, descriptor: Descriptor) -> bytes:
    with store.content.open(descriptor.digest) as reader:
        return reader.read()


def weights(manifest: Manifest) -> list[Descriptor]:
    return [layer for layer in manifest.layers if layer.annotations["dev.modelcar.layer"] == "weights"]


@pytest.mark.parametrize("packing", PACKINGS)
def test_every_claim_is_true(folder: Path, store: LocalStore, build: Build, packing: Packing) -> None:
    image = build(folder, packing=packing)
    validate(image.index, store.content.open)  # type: ignore[arg-type]  # a ByteReader reads like any stream


@pytest.mark.parametrize("packing", PACKINGS)
def test_the_model_comes_out_as_it_went_in(
    folder: Path, store: LocalStore, tmp_path: Path, build: Build, packing: Packing
) -> None:
    image = build(folder, packing=packing)
    source = StoreSource(store.content, image.index)
    unpack_model(choose_manifest(source, image.index), source.open_layer, tmp_path / "out")
    assert files_in(tmp_path / "out") == files_in(folder)


@pytest.mark.parametrize("packing", PACKINGS)
def test_no_weights_are_written(folder: Path, store: LocalStore, build: Build, packing: Packing) -> None:
    image = build(folder, packing=packing)
    assert all(store.content.is_virtual(layer.digest) for layer in weights(manifest_of(store, image)))


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_second_build_reads_no_weights(
    folder: Path, build: Build, monkeypatch: pytest.MonkeyPatch, packing: Packing
) -> None:
    first = build(folder, packing=packing)
    read: list[str] = []
    original = ByteReader._pread

    def counted(self: ByteReader, path: Path, *rest: Any) -> None:
        read.append(path.name)
        original(self, path, *rest)

    monkeypatch.setattr(ByteReader, "_pread", counted)
    assert build(folder, packing=packing).index.digest == first.index.digest
    assert [name for name in read if name.endswith(".safetensors")] == []


def test_packings_do_not_share_what_was_remembered(folder: Path, store: LocalStore, build: Build) -> None:
    digests = [build(folder, packing=packing).index.digest for packing in Packing]
    assert len(set(digests)) == 3
    store.memo._path.unlink()
    assert [build(folder, packing=packing).index.digest for packing in Packing] == digests


@pytest.mark.parametrize("packing", PACKINGS)
def test_content_digests_do_not_change_the_layers(
    folder: Path, store: LocalStore, build: Build, packing: Packing
) -> None:
    plain, more = (build(folder, packing=packing, content_digests=wanted) for wanted in (False, True))
    assert weights(manifest_of(store, plain)) != []
    digests = [[layer.digest for layer in weights(manifest_of(store, image))] for image in (plain, more)]
    assert digests[0] == digests[1]


def test_weights_alone_are_packed(folder: Path, store: LocalStore, build: Build) -> None:
    manifest = manifest_of(store, build(folder, packing=Packing.ESTARGZ))
    types = [(layer.annotations["dev.modelcar.layer"], layer.media_type) for layer in manifest.layers]
    assert types == [
        *[("weights", media_types.LAYER_TAR_GZIP)] * 3,
        ("files", media_types.LAYER_TAR),
        ("index", media_types.LAYER_TAR),
        ("holder", media_types.LAYER_TAR),
    ]


def test_descriptors_say_what_stargz_snapshotter_asks_for(folder: Path, store: LocalStore, build: Build) -> None:
    manifest = manifest_of(store, build(folder, packing=Packing.ESTARGZ))
    config = ImageConfig.parse(read_document(store.content, manifest.config))
    for layer, diff_id in zip(weights(manifest), config.diff_ids, strict=False):
        estargz = read_estargz(blob(store, layer))
        assert layer.annotations[TOC_DIGEST] == str(Digest.of(estargz.toc))
        assert diff_id != layer.digest
        assert int(layer.annotations[UNCOMPRESSED_SIZE]) > sum(e.get("size", 0) for e in estargz.entries)
        assert not [key for key in layer.annotations if key.startswith("containerd.io/snapshot/dev.modelcar")]


def test_the_model_index_describes_what_the_blob_unpacks_to(folder: Path, store: LocalStore, build: Build) -> None:
    image = build(folder, packing=Packing.ESTARGZ)
    holding = next(layer.descriptor for layer in image.layers if layer.kind is LayerKind.INDEX)
    index = parse_index_layer(blob(store, holding))
    manifest = manifest_of(store, image)
    config = ImageConfig.parse(read_document(store.content, manifest.config))
    for layer, listed, diff_id in zip(index.layers, manifest.layers, config.diff_ids, strict=False):
        assert (layer.listed_as, layer.digest) == (listed.digest, diff_id)
        assert layer.media_type == media_types.LAYER_TAR
        assert (layer.blob is None) == (listed.media_type == media_types.LAYER_TAR)
    [first, *_] = index.layers
    assert [(f.path, bool(f.tensors), f.header_size is not None) for f in first.files] == [
        ("model-00001-of-00003.safetensors", True, True)
    ]


def test_everything_is_known_of_the_files(folder: Path, store: LocalStore, build: Build) -> None:
    plain = inspect_image(build(folder).index, StoreSource(store.content, build(folder).index).read)
    image = build(folder, packing=Packing.ESTARGZ)
    inspected = inspect_image(image.index, StoreSource(store.content, image.index).read)
    assert plain.model is not None
    assert inspected.model is not None
    known, wanted = ([(f, content_digest(f, x)) for f, x in files_of(m)] for m in (inspected.model, plain.model))
    assert [(f.path, f.tensors, f.header, digest) for f, digest in known] == [
        (f.path, f.tensors, f.header, digest) for f, digest in wanted
    ]
    said = {file["path"]: file["layer"] for file in inspected.to_dict()["files"]}
    listed = {str(layer.digest) for m in inspected.manifests for layer in m.manifest.layers}
    assert set(said.values()) <= listed


@pytest.mark.parametrize("packing", list(Packing))
def test_policies_know_all_files(folder: Path, store: LocalStore, build: Build, packing: Packing) -> None:
    image = build(folder, packing=packing)
    inspected = inspect_image(image.index, StoreSource(store.content, image.index).read)
    facts = ImageFacts.of(Reference.parse("registry.example/model:v1"), inspected)
    assert facts.files is not None
    assert {file.path for file in facts.files} == files_in(folder).keys()


def test_a_source_that_changed_is_not_sent(folder: Path, store: LocalStore, tmp_path: Path, build: Build) -> None:
    image = build(folder, packing=Packing.ESTARGZ)
    shard = folder / "model-00002-of-00003.safetensors"
    shard.write_bytes(shard.read_bytes()[::-1])
    with pytest.raises(SourceChanged, match="model-00002"):
        copy_image(store.content, OciLayout(tmp_path / "layout"), image.index)


def test_soci_layers_and_model_index_are_those_of_a_plain_image(folder: Path, store: LocalStore, build: Build) -> None:
    plain, soci = (manifest_of(store, build(folder, packing=p)) for p in (Packing.TAR, Packing.SOCI))
    assert plain.layers == soci.layers
    assert soci.annotations.keys() - plain.annotations.keys() == {"com.amazon.soci.index-digest"}


def test_the_soci_index(folder: Path, store: LocalStore, build: Build) -> None:
    image = build(folder, packing=Packing.SOCI)
    inspected = inspect_image(image.index, StoreSource(store.content, image.index).read)
    [index] = [m for m in inspected.manifests if m.kind == "application/vnd.amazon.soci.index.v2+json"]
    images = [m for m in inspected.manifests if m.kind == "image"]
    assert {m.manifest.annotations["com.amazon.soci.index-digest"] for m in images} == {str(index.descriptor.digest)}
    assert read_document(store.content, index.manifest.config) == b"{}"
    for entry, layer in zip(index.manifest.layers, weights(images[0].manifest), strict=True):
        assert entry.media_type == "application/octet-stream"
        assert entry.annotations == {
            "com.amazon.soci.image-layer-digest": str(layer.digest),
            "com.amazon.soci.image-layer-mediaType": layer.media_type,
            "com.amazon.soci.span-size": str(4 << 20),
        }
    # The snapshotter writes it anew with no other members than these, and the digest must not change by that.
    raw = read_document(store.content, index.descriptor)
    assert list(json.loads(raw)) == ["schemaVersion", "mediaType", "config", "layers", "annotations"]
    assert str(index.descriptor.platform) == "unknown/unknown"


@pytest.mark.parametrize("packing", PACKINGS)
def test_without_weights_there_is_nothing_to_pack(tmp_path: Path, packing: Packing) -> None:
    folder = make_checkpoint(tmp_path / "model", shards=1)
    (folder / "model-00001-of-00001.safetensors").unlink()
    (folder / "model.safetensors.index.json").unlink()
    with pytest.raises(UsageError, match="no weights"):
        plan_layers(open_checkpoint(str(folder)), packing=packing)


@pytest.mark.parametrize(
    ("packing", "spoil"),
    [
        (Packing.ESTARGZ, lambda value: value["packed"].update(crcs=value["packed"]["crcs"][:-8])),
        (Packing.ESTARGZ, lambda value: value.pop("packed")),
        (Packing.SOCI, lambda value: value["spans"].pop()),
        (Packing.SOCI, lambda value: value.pop("spans")),
    ],
)
def test_what_was_half_remembered_is_hashed_again(
    folder: Path, store: LocalStore, build: Build, packing: Packing, spoil: Callable[[dict[str, Any]], None]
) -> None:
    first = build(folder, packing=packing)
    with closing(sqlite3.connect(store.memo._path)) as db, db:
        for key, text in db.execute("SELECT key, value FROM layers").fetchall():
            value = json.loads(text)
            if "packed" in value or "spans" in value:
                spoil(value)
            db.execute("UPDATE layers SET value = ? WHERE key = ?", (json.dumps(value), key))
    assert build(folder, packing=packing).index.digest == first.index.digest
