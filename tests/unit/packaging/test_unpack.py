"""Image to folder: bit for bit, all at once or not at all, and nothing outside the folder."""

from __future__ import annotations

import gzip
import tarfile
from pathlib import Path

import pytest

from modelcar.errors import DigestMismatch, InvalidContent, InvalidDocument, NotFound, SizeMismatch, UsageError
from modelcar.oci import media_types
from modelcar.packaging.fetch import StoreSource, choose_manifest
from modelcar.packaging.unpack import Unpacked, unpack_model
from modelcar.store import LocalStore
from tests.support.checkpoints import files_of
from tests.unit.packaging.conftest import Build
from tests.unit.packaging.layers import Layers


@pytest.fixture
def layers() -> Layers:
    return Layers()


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def test_what_comes_out_is_what_went_in(folder: Path, store: LocalStore, build: Build, tmp_path: Path) -> None:
    source = StoreSource(store.content, build(folder).index)
    manifest = choose_manifest(source, source.resolve())
    unpacked = unpack_model(manifest, source.open_layer, tmp_path / "out")
    assert files_of(tmp_path / "out") == files_of(folder)
    assert unpacked == Unpacked(files=8, size=sum(map(len, files_of(folder).values())))


def test_an_empty_folder_is_filled_and_others_are_left_alone(layers: Layers, tmp_path: Path) -> None:
    layers.add([("models/a", b"1")])
    (tmp_path / "empty").mkdir()
    layers.unpack(tmp_path / "empty")
    assert files_of(tmp_path / "empty") == {"a": b"1"}
    with pytest.raises(UsageError, match="not empty"):
        layers.unpack(tmp_path / "empty")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match="not a folder"):
        layers.unpack(tmp_path / "file")


def test_foreign_layers_are_applied_in_order_with_whiteouts(layers: Layers, tmp_path: Path) -> None:
    layers.add([("models/a", b"old"), ("models/b", b"gone"), ("models/d/x", b"gone too"), ("etc/passwd", b"no")])
    layers.add([("./models/a", b"new"), ("models/.wh.b", b""), ("models/d/.wh..wh..opq", b""), ("models/d/y", b"here")])
    layers.unpack(tmp_path / "out")
    assert files_of(tmp_path / "out") == {"a": b"new", "d/y": b"here"}


def test_gzip_layers_are_unpacked_and_checked(layers: Layers, tmp_path: Path) -> None:
    layers.add([("models/a", b"1" * 100_000)])
    layers.add_blob(gzip.compress(layers.blobs[layers.descriptors.pop().digest]), media_types.LAYER_TAR_GZIP)
    layers.unpack(tmp_path / "out")
    assert files_of(tmp_path / "out") == {"a": b"1" * 100_000}


def test_an_unknown_compression_is_said(layers: Layers, tmp_path: Path) -> None:
    layers.add([("models/a", b"1")], media_types.LAYER_TAR_ZSTD)
    with pytest.raises(InvalidDocument, match="zstd"):
        layers.unpack(tmp_path / "out")


@pytest.mark.parametrize(
    ("member", "error"),
    [
        (("models/../../escape", b"x"), InvalidContent),
        (link("models/a", "/etc/passwd"), InvalidContent),
        (link("models/a", "models/b", tarfile.LNKTYPE), InvalidContent),
        (link("models/fifo", "", tarfile.FIFOTYPE), InvalidContent),
    ],
    ids=["climbs", "symlink", "hardlink", "fifo"],
)
def test_what_a_model_must_not_hold_is_refused(
    layers: Layers, tmp_path: Path, member: tarfile.TarInfo | tuple[str, bytes], error: type[Exception]
) -> None:
    layers.add([("models/fine", b"x"), member])
    with pytest.raises(error):
        layers.unpack(tmp_path / "target" / "out")
    assert list((tmp_path / "target").iterdir()) == []
    assert not (tmp_path / "escape").exists()


def test_a_link_in_a_lower_layer_cannot_lead_an_upper_one_out(layers: Layers, tmp_path: Path) -> None:
    layers.add([link("models/d", str(tmp_path))])
    layers.add([("models/d/escape", b"x")])
    with pytest.raises(InvalidContent):
        layers.unpack(tmp_path / "out")
    assert not (tmp_path / "escape").exists()


@pytest.mark.parametrize("damage", ["flip", "truncate", "extend", "tail"])
def test_a_layer_that_is_not_what_it_was_leaves_nothing(layers: Layers, tmp_path: Path, damage: str) -> None:
    layers.add([("models/a", b"x" * 5000), ("models/b", b"y" * 5000)])
    digest = layers.descriptors[0].digest
    blob = layers.blobs[digest]
    layers.blobs[digest] = {
        "flip": blob[:600] + b"z" + blob[601:],
        "truncate": blob[:6000],
        "extend": blob + b"\0",
        "tail": blob[:-1] + b"\1",
    }[damage]
    with pytest.raises((DigestMismatch, SizeMismatch, InvalidContent)):
        layers.unpack(tmp_path / "target" / "out")
    assert list((tmp_path / "target").iterdir()) == []


def test_not_a_tar_and_no_model_are_said(layers: Layers, tmp_path: Path) -> None:
    layers.add([("etc/passwd", b"x")])
    with pytest.raises(NotFound, match="no files under /models"):
        layers.unpack(tmp_path / "out")
    layers.add_blob(b"not a tar" * 1000)
    with pytest.raises(InvalidContent, match="not a readable tar"):
        layers.unpack(tmp_path / "out")
    assert not (tmp_path / "out").exists()
