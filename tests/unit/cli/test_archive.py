"""`modelcar archive`, and every verb that takes the file back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from modelcar.layers.bytemap import FileRange
from modelcar.store import ArchiveStore, Names, OciLayout
from modelcar.store.archiving import Part, write_archive
from modelcar.store.tree import walk
from tests.support.checkpoints import files_of
from tests.support.images import put_image, random_image, validate_in
from tests.unit.cli.conftest import ModelcarCli


@pytest.fixture
def digest(modelcar: ModelcarCli, checkpoint: Path, ref: str) -> str:
    """The checkpoint, built as `ref` and nowhere but in the local store."""
    digest: str = modelcar.json("build", checkpoint, "-t", ref)["digest"]
    return digest


@pytest.fixture
def file(modelcar: ModelcarCli, digest: str, ref: str, tmp_path: Path) -> Path:
    modelcar("archive", ref, "-o", tmp_path / "model.tar")
    return tmp_path / "model.tar"


def test_what_it_says(modelcar: ModelcarCli, digest: str, ref: str, tmp_path: Path) -> None:
    file = tmp_path / "model.tar"
    out = modelcar("archive", ref, "-o", file)
    first, second = out.splitlines()
    assert re.fullmatch(rf"archived {re.escape(ref)} \([0-9.]+ [kM]B\) as oci-archive:{file}:v1 in [0-9.]+ s", first)
    assert second == digest
    answer = modelcar.json("archive", ref, "-o", tmp_path / "again.tar")
    assert answer.pop("seconds") >= 0
    again = tmp_path / "again.tar"
    assert answer == {"name": ref, "file": str(again), "digest": digest, "size": again.stat().st_size}
    assert again.read_bytes() == file.read_bytes()


def test_every_verb_takes_it_back(
    modelcar: ModelcarCli, file: Path, digest: str, ref: str, checkpoint: Path, tmp_path: Path
) -> None:
    archive = f"oci-archive:{file}"
    before = sorted(p.name for p in tmp_path.iterdir())
    modelcar("pull", archive, "-o", tmp_path / "copy")
    assert files_of(tmp_path / "copy") == files_of(checkpoint)
    assert modelcar.json("inspect", f"{archive}:v1")["digest"] == digest
    assert modelcar.json("copy", archive, f"{ref}-copied")["digest"] == digest
    modelcar("pull", f"{ref}-copied", "-o", tmp_path / "pulled")
    assert modelcar.json("copy", archive, f"oci:{tmp_path / 'layout'}")["digest"] == digest
    layout = OciLayout(tmp_path / "layout")
    validate_in(layout, Names(layout).get("v1"))
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*before, "copy", "pulled", "layout"])


def test_it_is_a_base(modelcar: ModelcarCli, ref: str, checkpoint: Path, tmp_path: Path) -> None:
    image = random_image(1, compressed=True, platforms=1)
    layout = OciLayout(tmp_path / "base")
    put_image(layout, image)
    write_archive(tmp_path / "base.tar", [Part(entry=image.root, store=layout)])
    built = modelcar.json("build", checkpoint, "-t", ref, "--base", f"oci-archive:{tmp_path}/base.tar")
    on_top = [layer["digest"] for layer in built["layers"] if layer["kind"] is None]
    assert on_top == [str(layer.digest) for layer in image.documents.manifests[0].layers]


def test_it_is_not_changed(modelcar: ModelcarCli, file: Path, ref: str) -> None:
    before = file.read_bytes()
    refused = modelcar.refusal(2, "archive", ref, "-o", file)
    assert refused.line == f"{file} is there already"
    assert refused.hint == "name another file, or remove it"
    assert file.read_bytes() == before


@pytest.mark.parametrize("damage", ["cut", "flip", "compress"])
def test_damaged_ones(modelcar: ModelcarCli, file: Path, ref: str, tmp_path: Path, damage: str) -> None:
    content = bytearray(file.read_bytes())
    archive = ArchiveStore(file)
    if damage == "cut":
        del content[len(content) // 2 :]
    elif damage == "compress":
        content[:2] = b"\x1f\x8b"
    else:
        largest = max(walk(archive, Names(archive).only()), key=lambda d: d.size)
        (segment,) = archive.map(largest.digest).segments()
        assert isinstance(segment, FileRange)
        content[segment.offset + segment.size // 2] ^= 1
    file.write_bytes(content)
    status = 2 if damage == "compress" else 1
    said = {
        "cut": r"model\.tar is no archive that can be used: it ends within",
        "flip": r"hashes to|sha256:",
        "compress": r"model\.tar is compressed \(gzip\)",
    }
    for verb, *target in (["pull", "-o", tmp_path / "copy"], ["copy", f"oci:{tmp_path}/layout"]):
        assert re.search(said[damage], modelcar.refusal(status, str(verb), f"oci-archive:{file}", *target).line)
    assert not (tmp_path / "copy").exists()
