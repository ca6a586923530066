"""Checkpoint to image: what is in it, what is not written, what is not read twice, and that it is reproducible."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from modelcar.checkpoint import open_checkpoint
from modelcar.errors import SourceChanged, UsageError
from modelcar.files import FileStamp
from modelcar.layers import hashing
from modelcar.layers.bytemap import ByteReader
from modelcar.oci import Digest, ImageConfig, Index, Manifest, media_types, parse_object
from modelcar.oci.validate import validate
from modelcar.packaging.base import DEFAULT_PLATFORMS, scratch_base
from modelcar.packaging.build import build_image
from modelcar.packaging.inspect import parse_index_layer
from modelcar.packaging.plan import LayerKind
from modelcar.store import LocalStore, read_document
from modelcar.store.tree import load
from tests.support.checkpoints import make_checkpoint
from tests.unit.packaging.conftest import Build

SCRATCH = [scratch_base(p) for p in DEFAULT_PLATFORMS]


def documents(store: LocalStore, image: Any) -> tuple[Index, list[Manifest]]:
    index = load(store.content, image.index)
    assert isinstance(index, Index)
    manifests = [load(store.content, entry) for entry in index.manifests]
    assert all(isinstance(m, Manifest) for m in manifests)
    return index, manifests  # type: ignore[return-value]  # manifests, as these are of an index


def test_every_claim_of_an_image_is_true(folder: Path, store: LocalStore, build: Build) -> None:
    image = build(folder)
    validate(image.index, store.content.open)  # type: ignore[arg-type]  # a ByteReader reads like any stream


def test_the_same_files_elsewhere_give_the_same_digest(folder: Path, tmp_path: Path, build: Build) -> None:
    first = build(folder).index.digest
    elsewhere = tmp_path / "another place" / "name"
    shutil.copytree(folder, elsewhere)
    for path in elsewhere.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
        path.chmod(0o700 if path.is_dir() else 0o600)
    assert build(elsewhere).index.digest == first


def test_one_shard_a_layer_weights_at_the_bottom(folder: Path, build: Build) -> None:
    image = build(folder)
    kinds = [layer.kind for layer in image.layers]
    weights = [LayerKind.WEIGHTS] * 3
    assert kinds == [*weights, LayerKind.FILES, LayerKind.INDEX, LayerKind.HOLDER, LayerKind.HOLDER]
    assert [layer.label for layer in image.layers[:3]] == [f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]


def test_platforms_share_every_model_layer(folder: Path, store: LocalStore, build: Build) -> None:
    _, (amd64, arm64, twin) = documents(store, build(folder))
    assert amd64.layers[:-1] == arm64.layers[:-1]
    assert amd64.layers[-1] != arm64.layers[-1]
    assert [d.digest for d in twin.layers] == [d.digest for d in amd64.layers[:-1]]


def test_the_twin_is_listed_so_that_engines_pass_it_by(folder: Path, store: LocalStore, build: Build) -> None:
    index, (*_, twin) = documents(store, build(folder))
    entry = index.manifests[-1]
    assert str(entry.platform) == "unknown/unknown"
    assert entry.artifact_type is None
    assert twin.artifact_type == media_types.MODELPACK_MANIFEST
    assert all(d.media_type.startswith("application/vnd.cncf.model.") for d in twin.layers)


def test_the_config_lists_an_uncompressed_layer_by_its_digest(folder: Path, store: LocalStore, build: Build) -> None:
    _, (manifest, *_) = documents(store, build(folder))
    config = ImageConfig.parse(read_document(store.content, manifest.config))
    assert config.diff_ids == tuple(d.digest for d in manifest.layers)
    assert config.runtime["User"] == "65532:65532"
    assert "created" not in config.rest


def test_a_build_writes_no_weights(folder: Path, store: LocalStore, build: Build) -> None:
    image = build(folder)
    for layer in image.layers[:4]:
        assert store.content.is_virtual(layer.descriptor.digest)
    written = sum(p.stat().st_size for p in store.home.rglob("*") if p.is_file())
    assert written < 200_000 < image.model_size


def test_a_rebuild_of_unchanged_files_hashes_nothing(
    folder: Path, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build(folder)
    hashed: list[int] = []
    original = hashing._feed

    def counted(reader: Any, size: int, *rest: Any) -> None:
        hashed.append(size)
        original(reader, size, *rest)

    monkeypatch.setattr(hashing, "_feed", counted)
    assert build(folder).index == first.index
    assert sum(hashed) < 10_000  # the index layer alone, from memory


def test_one_changed_shard_changes_one_weight_layer(folder: Path, build: Build) -> None:
    before = [layer.descriptor.digest for layer in build(folder).layers]
    shard = folder / "model-00002-of-00003.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1] + b"\xff")
    after = [layer.descriptor.digest for layer in build(folder).layers]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True, True, False, True, True]


def test_a_file_that_changes_while_it_is_hashed_fails_the_build(
    folder: Path, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = open_checkpoint(str(folder))
    shard = folder / "model-00002-of-00003.safetensors"
    read = ByteReader.readinto

    def reading(self: ByteReader, buffer: memoryview) -> int:
        if shard.stat().st_mtime_ns != 1:
            os.utime(shard, ns=(1, 1))
        return read(self, buffer)

    monkeypatch.setattr(ByteReader, "readinto", reading)
    with store.session(), pytest.raises(SourceChanged, match="model-00002-of-00003"):
        build_image(checkpoint, store, SCRATCH)
    assert store.names.list() == {}


def test_the_index_tells_where_every_tensor_lies(folder: Path, store: LocalStore, build: Build) -> None:
    image = build(folder)
    layer = next(x for x in image.layers if x.kind is LayerKind.INDEX)
    index = parse_index_layer(read_document(store.content, layer.descriptor))
    assert index.root == "/models"
    assert [x.digest for x in index.layers] == [x.descriptor.digest for x in image.layers[:4]]
    shard = index.layers[1].files[0]
    assert shard.path == "model-00002-of-00003.safetensors"
    assert shard.offset % 4096 == 0
    (tensor,) = shard.tensors
    with store.content.open(index.layers[1].digest, shard.offset + tensor.offset, tensor.size) as reader:
        assert (folder / shard.path).read_bytes().endswith(reader.read())
    assert shard.header == (folder / shard.path).read_bytes()[: shard.header_size]


def test_small_files_carry_their_own_digest_and_weights_only_on_request(
    folder: Path, store: LocalStore, build: Build
) -> None:
    def digests(image: Any) -> dict[str, Digest | None]:
        layer = next(x for x in image.layers if x.kind is LayerKind.INDEX)
        index = parse_index_layer(read_document(store.content, layer.descriptor))
        return {f.path: f.digest for x in index.layers for f in x.files}

    plain = digests(build(folder))
    assert plain["config.json"] == Digest.of((folder / "config.json").read_bytes())
    assert plain["model-00001-of-00003.safetensors"] is None
    full = digests(build(folder, content_digests=True))
    assert full == {path: Digest.of((folder / path).read_bytes()) for path in plain}


def test_more_shards_than_layers_are_packed(tmp_path: Path, build: Build) -> None:
    folder = make_checkpoint(tmp_path / "many", shards=20, elements=1000)
    image = build(folder, SCRATCH, max_layers=8)
    assert len(image.layers) == 8
    assert sum(len(x.planned.files) for x in image.layers if x.planned and x.kind is LayerKind.WEIGHTS) == 20


def test_no_room_for_weights_is_said(folder: Path, build: Build) -> None:
    with pytest.raises(UsageError, match="leave no room for weights"):
        build(folder, max_layers=3)


def test_annotations_come_from_the_checkpoint_and_name_no_machine(
    folder: Path, store: LocalStore, build: Build
) -> None:
    index, manifests = documents(store, build(folder))
    assert index.annotations["org.opencontainers.image.licenses"] == "Apache-2.0"
    for document in (index, *manifests):
        assert str(folder.parent).encode() not in document.content
        config = getattr(document, "config", None)
        if config is not None:
            assert str(folder.parent).encode() not in read_document(store.content, config)


def test_modelpack_config_has_only_what_the_schema_allows(folder: Path, store: LocalStore, build: Build) -> None:
    _, (*_, twin) = documents(store, build(folder))
    config = parse_object(read_document(store.content, twin.config), "config")
    assert set(config) == {"descriptor", "config", "modelfs"}
    assert config["modelfs"] == {"type": "layers", "diffIds": [str(d.digest) for d in twin.layers]}
    assert config["config"]["architecture"] == "TinyForCausalLM"


def test_an_unsettled_file_is_hashed_again(folder: Path, store: LocalStore, build: Build) -> None:
    build(folder)
    stamp = FileStamp.from_stat((folder / "config.json").stat())
    assert stamp.is_settled(stamp.ctime_ns + 60 * 10**6)
    assert not stamp.is_settled(stamp.ctime_ns + 10**6)
