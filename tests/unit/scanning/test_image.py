"""Scanning images: every layer, and a model index that tells the truth or does not."""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from modelcar.checkpoint import open_checkpoint
from modelcar.errors import DigestMismatch
from modelcar.layers.index import INDEX_PATH, IndexedLayer, ModelIndex
from modelcar.oci import Descriptor, Digest, Index, Manifest, media_types
from modelcar.packaging.annotations import SNAPSHOT_INDEX
from modelcar.packaging.base import DEFAULT_PLATFORMS, holder_base
from modelcar.packaging.build import BuiltImage, build_image
from modelcar.packaging.inspect import index_layer_of, parse_index_layer
from modelcar.packaging.plan import LayerKind
from modelcar.scanning.findings import Outcome
from modelcar.scanning.settings import ScanSettings
from modelcar.signing.policy.licenses import LicenseRule
from modelcar.store import LocalStore, read_document
from tests.support.checkpoints import make_checkpoint
from tests.support.scanned_images import artifact_of, blob_of, image_of, layer_of, member, rules, scan, tar_of
from tests.support.weights import safetensors_bytes

EVIL = b"\x80\x02cposix\nsystem\nU\x02idR."
WEIGHTS = safetensors_bytes({"a": ("F32", (4,), bytes(16))}, align=8)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "home")


def build(store: LocalStore, folder: Path) -> BuiltImage:
    return build_image(open_checkpoint(str(folder)), store, [holder_base(p) for p in DEFAULT_PLATFORMS])


@pytest.fixture
def image(store: LocalStore, tmp_path: Path) -> BuiltImage:
    return build(store, make_checkpoint(tmp_path / "checkpoint"))


def first_manifest(store: LocalStore, root: Descriptor) -> Manifest:
    index = Index.parse(read_document(store.content, root))
    return Manifest.parse(read_document(store.content, index.manifests[0]))


def with_index(store: LocalStore, image: BuiltImage, change: Callable[[ModelIndex], ModelIndex]) -> Descriptor:
    """The same image, whose index says something else."""
    manifest = first_manifest(store, image.index)
    layer = index_layer_of(manifest)
    assert layer is not None
    model = parse_index_layer(read_document(store.content, layer))
    forged = layer_of(store, {INDEX_PATH: change(model).to_json()}, LayerKind.INDEX)
    marked = [each.annotated({SNAPSHOT_INDEX: str(forged.digest)}) for each in manifest.layers]
    return image_of(store, [forged if each.digest == layer.digest else each for each in marked])


def test_what_we_build_is_clean_and_every_file_is_reported_once(store: LocalStore, image: BuiltImage) -> None:
    report = scan(store, image.index)
    assert report.all_findings == ()
    assert report.outcome is Outcome.CLEAN
    assert report.facts == {"digest": str(image.index.digest), "scope": "everything"}
    paths = [file.path for file in report.files]
    assert len(paths) == len(set(paths)) == len(open_checkpoint(str(store.home.parent / "checkpoint")).files)


def test_a_malicious_file_is_found_in_its_layer(store: LocalStore) -> None:
    layer = layer_of(store, {"models/model.bin": EVIL})
    report = scan(store, image_of(store, [layer]))
    assert report.outcome is Outcome.MALICIOUS
    assert {file.path for file in report.files if file.outcome is Outcome.MALICIOUS} == {"model.bin"}


def forge_chunk(layer: IndexedLayer) -> IndexedLayer:
    return replace(layer, chunks=(replace(layer.chunks[0], digest=Digest.of(b"other")), *layer.chunks[1:]))


def forge_files(**changes: object) -> Callable[[IndexedLayer], IndexedLayer]:
    return lambda layer: replace(layer, files=(replace(layer.files[0], **changes), *layer.files[1:]))  # type: ignore[arg-type]  # settings by their names


def forge_tensor(layer: IndexedLayer) -> IndexedLayer:
    file = layer.files[0]
    tensor = replace(file.tensors[0], name="other")
    return replace(layer, files=(replace(file, tensors=(tensor, *file.tensors[1:])), *layer.files[1:]))


@pytest.mark.parametrize(
    ("forge", "detail"),
    [
        (forge_chunk, "the chunk at byte 0 has another digest"),
        (lambda layer: replace(layer, files=layer.files[1:]), "it leaves"),
        (forge_files(path="other.safetensors"), "which is not there"),
        (forge_files(offset=0), "elsewhere"),
        (forge_files(format="gguf", header=None), "it calls"),
        (forge_files(role="config"), "the role 'config'"),
        (forge_files(digest=Digest.of(b"other")), "another digest"),
        (forge_files(header=None), "another header"),
        (forge_tensor, "lists other tensors"),
    ],
)
def test_an_index_that_lies_is_found_out(
    store: LocalStore, image: BuiltImage, forge: Callable[[IndexedLayer], IndexedLayer], detail: str
) -> None:
    def change(model: ModelIndex) -> ModelIndex:
        return replace(model, layers=(forge(model.layers[0]), *model.layers[1:]))

    report = scan(store, with_index(store, image, change))
    assert rules(report) == {"image.index-disagrees"}
    assert any(detail in finding.detail for finding in report.all_findings)
    assert report.outcome is Outcome.UNVERIFIED


def test_an_index_without_a_layer_is_found_out(store: LocalStore, image: BuiltImage) -> None:
    report = scan(store, with_index(store, image, lambda model: replace(model, layers=model.layers[1:])))
    assert rules(report) == {"image.index-disagrees"}


def test_an_index_with_a_layer_too_many_is_found_out(store: LocalStore, image: BuiltImage) -> None:
    def change(model: ModelIndex) -> ModelIndex:
        other = replace(model.layers[0], digest=Digest.of(b"other"), files=())
        return replace(model, layers=(*model.layers, other))

    assert rules(scan(store, with_index(store, image, change))) == {"image.index-disagrees"}


def test_an_index_that_cannot_be_read(store: LocalStore) -> None:
    layers = [layer_of(store, {INDEX_PATH: b"{}"}, LayerKind.INDEX), layer_of(store, {"models/a.safetensors": WEIGHTS})]
    assert rules(scan(store, image_of(store, layers))) == {"image.unreadable-index"}


def test_an_image_without_an_index_may_be_clean(store: LocalStore) -> None:
    report = scan(store, image_of(store, [layer_of(store, {"models/a.safetensors": WEIGHTS}, None)]))
    assert report.outcome is Outcome.CLEAN


def test_a_base_is_not_judged_unless_somebody_vouches_for_it(store: LocalStore) -> None:
    base = layer_of(store, {"bin/sh": b"\x7fELF", "etc/passwd": b""}, None)
    root = image_of(store, [layer_of(store, {"models/a.safetensors": WEIGHTS}), base])
    report = scan(store, root)
    assert rules(report) == {"image.files-outside-model"}
    assert report.findings[0].message.endswith("'bin/sh' and 1 more")
    vouched = scan(store, root, ScanSettings(trusted_layers=frozenset({base.digest})))
    assert (vouched.outcome, rules(vouched)) == (Outcome.CLEAN, {"image.trusted-layer"})


def test_another_program_in_the_holders_place_is_not_the_holder(store: LocalStore) -> None:
    forged = layer_of(store, {".modelcar/holder": b"#!/bin/sh"}, LayerKind.HOLDER)
    assert rules(scan(store, image_of(store, [forged]))) == {"image.files-outside-model"}


def test_a_file_in_two_layers(store: LocalStore) -> None:
    layers = [
        layer_of(store, {"models/a.safetensors": WEIGHTS}),
        layer_of(store, {"models/a.safetensors": WEIGHTS * 1}),
    ]
    other = safetensors_bytes({"a": ("F32", (1,), bytes(4))}, align=8)
    layers[1] = layer_of(store, {"models/a.safetensors": other})
    assert rules(scan(store, image_of(store, layers))) == {"image.path-twice"}


def test_a_whiteout(store: LocalStore) -> None:
    layers = [
        layer_of(store, {"models/a.safetensors": WEIGHTS}, None),
        tar_of(store, member("models/.wh.a.safetensors")),
    ]
    assert rules(scan(store, image_of(store, layers))) == {"image.whiteout"}


def test_compressed_layers_are_looked_into(store: LocalStore) -> None:
    def packed(path: str, content: bytes) -> Descriptor:
        layer = tar_of(store, member(path, content), media_type=media_types.LAYER_TAR_GZIP)
        diff_id = Digest.of(gzip.decompress(read_document(store.content, layer)))
        return image_of(store, [layer], diff_ids=[diff_id])

    assert scan(store, packed("models/a.safetensors", WEIGHTS)).outcome is Outcome.CLEAN
    assert scan(store, packed("models/a.bin", EVIL)).outcome is Outcome.MALICIOUS


def test_a_layer_that_is_refused_is_still_looked_into(store: LocalStore) -> None:
    link = member("models/link", kind=tarfile.SYMTYPE, link="/etc/passwd")
    evil = tar_of(store, member("models/a.bin", EVIL), link)
    report = scan(store, image_of(store, [evil]))
    assert "image.unreadable-layer" in rules(report)
    assert report.outcome is Outcome.MALICIOUS


def test_bytes_that_are_not_those_of_the_digest_are_no_verdict(
    store: LocalStore, image: BuiltImage, tmp_path: Path
) -> None:
    layer = layer_of(store, {"models/a.safetensors": WEIGHTS})
    root = image_of(store, [layer])
    path = store.content.root / "blobs" / "sha256" / layer.digest.hex
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[-1024] ^= 1
    path.write_bytes(data)
    with pytest.raises(DigestMismatch):
        scan(store, root)


def test_files_that_are_layers_themselves(store: LocalStore) -> None:
    layer = blob_of(store, WEIGHTS, "application/vnd.cncf.model.weight.v1.raw")
    named = layer.annotated({"org.cncf.model.filepath": "model.safetensors"})
    report = scan(store, artifact_of(store, [named]))
    assert [(file.path, file.outcome) for file in report.files] == [("model.safetensors", Outcome.CLEAN)]


def test_an_image_that_names_another_licence_than_its_card(store: LocalStore) -> None:
    layer = layer_of(store, {"models/README.md": b"---\nlicense: gpl-3.0\n---\n# x\n"})
    root = image_of(store, [layer], annotations={"org.opencontainers.image.licenses": "MIT"})
    assert rules(scan(store, root)) == {"licence.disagrees"}
    both = scan(store, root, ScanSettings(licenses=(LicenseRule(allowed=("MIT",)),)))
    assert rules(both) == {"licence.disagrees", "licence.denied"}


def test_names_in_different_layers_that_collide(store: LocalStore) -> None:
    other = safetensors_bytes({"a": ("F32", (1,), bytes(4))}, align=8)
    layers = [layer_of(store, {"models/A.safetensors": WEIGHTS}), layer_of(store, {"models/a.safetensors": other})]
    assert rules(scan(store, image_of(store, layers))) == {"name.colliding"}
