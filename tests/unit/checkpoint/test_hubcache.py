"""Caches laid out by hand as huggingface_hub lays them out."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelcar.checkpoint import open_checkpoint
from modelcar.errors import SourceError, StorageError, UnsafePath
from tests.support.weights import simple_safetensors

COMMIT, OTHER = "0123456789" * 4, "fedcba9876" * 4
WEIGHTS = simple_safetensors("a")
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()
XET = "ab" + "0" * 62
SMALL = "d7edf6bd2a681fb0175f7735299831ee1b22b812"


def lay_out(cache: Path, commit: str = COMMIT, *, shared: bool = False, repo: str = "models--org--name") -> Path:
    """One repository: config.json and sub/model.safetensors; with `shared`, the weights lie in the cache-wide store."""
    folder = cache / repo
    (folder / "blobs").mkdir(parents=True, exist_ok=True)
    (folder / "blobs" / SMALL).write_text("{}")
    weights = folder / "blobs" / SHA256
    if not weights.exists():
        if shared:
            store = cache / "blobs" / XET[:2] / XET
            store.parent.mkdir(parents=True)
            store.write_bytes(WEIGHTS)
            weights.symlink_to(os.path.relpath(store, weights.parent))
        else:
            weights.write_bytes(WEIGHTS)
    snapshot = folder / "snapshots" / commit
    (snapshot / "sub").mkdir(parents=True)
    (snapshot / "config.json").symlink_to(f"../../blobs/{SMALL}")
    (snapshot / "sub" / "model.safetensors").symlink_to(f"../../../blobs/{SHA256}")
    return folder


@pytest.mark.parametrize("shared", [False, True])
def test_snapshot(shared: bool, tmp_path: Path) -> None:
    folder = lay_out(tmp_path, shared=shared)
    checkpoint = open_checkpoint(str(folder / "snapshots" / COMMIT))
    config, weights = checkpoint.files
    assert (config.path, weights.path) == ("config.json", "sub/model.safetensors")
    assert config.source == folder / "blobs" / SMALL
    assert weights.source == (tmp_path / "blobs/ab" / XET if shared else folder / "blobs" / SHA256)
    assert config.known_sha256 is None, "a git object id is no sha256"
    assert weights.known_sha256 == SHA256
    assert weights.format == "safetensors"
    assert checkpoint.provenance.repo == "org/name"
    assert checkpoint.provenance.revision == COMMIT
    assert checkpoint.provenance.url == "https://huggingface.co/org/name"
    assert checkpoint.provenance.endpoint is None


def test_folder_and_file_inside_a_snapshot(tmp_path: Path) -> None:
    snapshot = lay_out(tmp_path) / "snapshots" / COMMIT
    for source in (snapshot / "sub", snapshot / "sub" / "model.safetensors"):
        checkpoint = open_checkpoint(str(source))
        assert [file.path for file in checkpoint.files] == ["model.safetensors"]
        assert checkpoint.files[0].known_sha256 == SHA256
        assert checkpoint.provenance.revision == COMMIT


def test_repository_folder(tmp_path: Path) -> None:
    folder = lay_out(tmp_path)
    assert open_checkpoint(str(folder)).provenance.revision == COMMIT
    lay_out(tmp_path, OTHER)
    with pytest.raises(SourceError, match="holds 2 snapshots and none is 'main'") as caught:
        open_checkpoint(str(folder))
    assert caught.value.hint is not None
    assert COMMIT in caught.value.hint
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(OTHER)
    assert open_checkpoint(str(folder)).provenance.revision == OTHER


def test_repository_folder_without_snapshot(tmp_path: Path) -> None:
    (tmp_path / "models--org--name" / "snapshots").mkdir(parents=True)
    with pytest.raises(SourceError, match="holds no snapshot"):
        open_checkpoint(str(tmp_path / "models--org--name"))


def test_repository_without_organisation(tmp_path: Path) -> None:
    folder = lay_out(tmp_path, repo="models--gpt2")
    assert open_checkpoint(str(folder)).provenance.repo == "gpt2"


def test_dataset(tmp_path: Path) -> None:
    folder = lay_out(tmp_path, repo="datasets--org--name")
    with pytest.raises(SourceError, match="cache of dataset org/name, not of a model"):
        open_checkpoint(str(folder / "snapshots" / COMMIT))


@pytest.mark.parametrize(
    "target",
    [
        "../../../models--org--secret/blobs/x",
        "../../refs/main",
        "../../../blobs/zz/" + XET,
        "../../../blobs/ab/plain",
        "../../../token",
        "../" + OTHER + "/config.json",
    ],
)
def test_link_to_somewhere_else_in_the_cache(target: str, tmp_path: Path) -> None:
    folder = lay_out(tmp_path)
    link = folder / "snapshots" / COMMIT / "evil"
    link.symlink_to(target)
    place = link.parent / target
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("secret")
    with pytest.raises(UnsafePath, match=r"the link 'evil' leads to .*, outside the checkpoint"):
        open_checkpoint(str(folder / "snapshots" / COMMIT))


def test_blob_that_leads_out_of_the_cache(tmp_path: Path) -> None:
    folder = lay_out(tmp_path)
    (folder / "blobs" / SHA256).unlink()
    (folder / "blobs" / SHA256).symlink_to("/etc/passwd")
    with pytest.raises(UnsafePath, match="leads to /etc/passwd"):
        open_checkpoint(str(folder / "snapshots" / COMMIT))


def test_blob_that_is_gone(tmp_path: Path) -> None:
    folder = lay_out(tmp_path)
    (folder / "blobs" / SHA256).unlink()
    with pytest.raises(SourceError, match=r"'sub/model\.safetensors' leads to nothing") as caught:
        open_checkpoint(str(folder / "snapshots" / COMMIT))
    assert caught.value.hint is not None
    assert "download" in caught.value.hint


def test_a_cache_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = lay_out(tmp_path)

    def denied(path: Path) -> Iterator[Path]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "iterdir", denied)
    with pytest.raises(StorageError, match=r"cannot read .*/models--org--name/snapshots: Permission denied"):
        open_checkpoint(folder)


def test_cache_reached_through_a_link(tmp_path: Path) -> None:
    lay_out(tmp_path / "disk")
    (tmp_path / "cache").symlink_to(tmp_path / "disk")
    source = tmp_path / "cache" / "models--org--name" / "snapshots" / COMMIT
    assert open_checkpoint(str(source)).provenance.repo == "org/name"
