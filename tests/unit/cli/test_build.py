"""`modelcar build` and `modelcar plan`."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelcar.oci import Index, Manifest, Reference
from modelcar.packaging.fetch import StoreSource, choose_manifest
from modelcar.registry import Registry
from modelcar.registry.dialects import UNKNOWN
from modelcar.store.tree import load
from tests.support.checkpoints import files_of, make_checkpoint
from tests.support.images import validate_in
from tests.unit.cli.conftest import ModelcarCli

NAME = "localhost:5000/acme/tiny:v1"


def index_of(modelcar: ModelcarCli, name: str = NAME) -> Index:
    document = load(modelcar.store.content, modelcar.store.names.get(name))
    assert isinstance(document, Index)
    return document


def test_a_build_as_text(modelcar: ModelcarCli, checkpoint: Path) -> None:
    lines = modelcar("build", checkpoint, "-t", NAME).splitlines()
    assert lines[0].split() == ["layer", "kind", "size", "sha256"]
    assert lines[1].split()[:4] == ["model-00001-of-00003.safetensors", "weights", "105", "kB"]
    assert [line.split("  ")[0] for line in lines[4:8]] == [
        "5 small files", "model index", "holder linux/amd64", "holder linux/arm64",
    ]  # fmt: skip
    assert lines[8].startswith(f"built {NAME} for linux/amd64, linux/arm64 in ")
    assert lines[9] == str(modelcar.store.names.get(NAME).digest)
    assert len(lines) == 10


def test_a_build_as_json(modelcar: ModelcarCli, checkpoint: Path) -> None:
    answer = modelcar.json("build", checkpoint, "-t", NAME)
    assert list(answer) == [
        "name",
        "digest",
        "modelpack",
        "platforms",
        "modelSize",
        "layers",
        "verdict",
        "signer",
        "pushed",
        "seconds",
    ]
    root = modelcar.store.names.get(NAME)
    assert (answer["name"], answer["digest"], answer["pushed"]) == (NAME, str(root.digest), False)
    assert answer["platforms"] == ["linux/amd64", "linux/arm64"]
    assert answer["modelSize"] == sum(path.stat().st_size for path in checkpoint.rglob("*") if path.is_file())
    assert answer["modelpack"] == str(index_of(modelcar).manifests[-1].digest)
    manifest = load(modelcar.store.content, index_of(modelcar).manifests[0])
    assert isinstance(manifest, Manifest)
    assert [layer["digest"] for layer in answer["layers"]][:6] == [str(layer.digest) for layer in manifest.layers]
    assert answer["layers"][0].keys() == {"digest", "size", "kind", "label"}
    assert isinstance(answer["seconds"], float)
    validate_in(modelcar.store.content, root)


def test_a_name_without_registry_and_tag_is_completed_as_engines_do(modelcar: ModelcarCli, checkpoint: Path) -> None:
    assert modelcar.json("build", checkpoint, "-t", "tiny")["name"] == "docker.io/library/tiny:latest"


@pytest.mark.slow
def test_build_and_push(modelcar: ModelcarCli, checkpoint: Path, ref: str) -> None:
    assert f"built and pushed {ref}" in modelcar("build", checkpoint, "-t", ref, "--push")
    answer = modelcar.json("build", checkpoint, "-t", ref, "--push")
    assert answer["pushed"] is True
    with Registry() as registry:
        assert str(registry.resolve(Reference.parse(ref)).digest) == answer["digest"]
        assert str(registry.resolve(Reference.parse(f"{ref}-modelpack")).digest) == answer["modelpack"]


@pytest.mark.slow
def test_a_build_that_cannot_be_pushed_says_nothing_of_success_to_programs(
    modelcar: ModelcarCli, checkpoint: Path, registry: str
) -> None:
    refused = modelcar.refusal(3, "build", checkpoint, "-t", "127.0.0.1:1/acme/tiny:v1", "--push", "--json")
    assert refused.line.startswith("127.0.0.1:1: uploading ")


@pytest.mark.parametrize(
    ("options", "platforms", "layers"),
    [
        (["--base", "scratch"], ["linux/amd64", "linux/arm64"], 5),
        (["--base", "scratch", "--platform", "linux/s390x"], ["linux/s390x"], 5),
        (["--platform", "linux/arm64"], ["linux/arm64"], 6),
        (["--platform", "linux/arm64", "--platform", "linux/arm64"], ["linux/arm64"], 6),
        (["--max-layers", "5"], ["linux/amd64", "linux/arm64"], 5),
    ],
    ids=["scratch", "scratch elsewhere", "one platform", "the same twice", "packed"],
)
def test_options(
    modelcar: ModelcarCli, checkpoint: Path, options: list[str], platforms: list[str], layers: int
) -> None:
    answer = modelcar.json("build", checkpoint, "-t", NAME, *options)
    assert answer["platforms"] == platforms
    entries = index_of(modelcar).manifests
    assert [str(entry.platform) for entry in entries] == [*platforms, "unknown/unknown"]
    manifest = load(modelcar.store.content, entries[0])
    assert isinstance(manifest, Manifest)
    assert len(manifest.layers) == layers


def test_content_digests_are_recorded_when_asked_for(modelcar: ModelcarCli, checkpoint: Path) -> None:
    def digests() -> list[str | None]:
        return [f["digest"] for f in modelcar.json("inspect", NAME)["files"] if f["role"] == "weight"]

    modelcar("build", checkpoint, "-t", NAME)
    assert digests() == [None] * 3
    modelcar("build", checkpoint, "-t", NAME, "--content-digest")
    assert all(digest and digest.startswith("sha256:") for digest in digests())


@pytest.mark.slow
def test_the_base_may_be_an_image_in_a_registry_or_a_layout(
    modelcar: ModelcarCli, checkpoint: Path, tmp_path: Path, ref: str
) -> None:
    """Any image with a program in it will do; here, one of our own without the model."""
    base = put_base(modelcar, tmp_path, ref)
    for name in (base, f"oci:{tmp_path / 'layout'}"):
        answer = modelcar.json("build", checkpoint, "-t", NAME, "--base", name)
        assert answer["platforms"] == ["linux/amd64"]
        assert answer["layers"][-1]["label"] == "base linux/amd64"


def put_base(modelcar: ModelcarCli, tmp_path: Path, ref: str) -> str:
    from modelcar.oci import Platform
    from modelcar.store import Names, OciLayout
    from tests.unit.packaging.bases import add_base

    root = add_base(modelcar.store, Platform.parse("linux/amd64")).descriptor
    modelcar.store.names.put(ref, root)
    modelcar("export", ref, "-o", tmp_path / "layout")
    modelcar("push", ref)
    assert Names(OciLayout(tmp_path / "layout")).list() == {"v1": root}
    return ref


def test_one_weights_file(modelcar: ModelcarCli, checkpoint: Path, tmp_path: Path) -> None:
    file = make_checkpoint(tmp_path / "one", shards=1) / "model-00001-of-00001.safetensors"
    answer = modelcar.json("build", file, "-t", NAME)
    assert [layer["label"] for layer in answer["layers"]][:2] == [file.name, "model index"]


def test_notes_are_said_aside(modelcar: ModelcarCli, folder: Path) -> None:
    (folder / "README.md").write_text("---\nlicense: [\n---\n")
    commands: list[list[str | Path]] = [["plan", folder], ["build", folder, "-t", NAME]]
    for command in commands:
        status, _, err = modelcar.run(*command)
        assert status == 0
        assert err.startswith("note: README.md: ")
        assert err.count("\n") == 1
        assert modelcar.run(*command, "--quiet")[2] == ""
    assert modelcar.json("plan", folder)["notes"][0].startswith("README.md: ")


def test_a_plan_as_text(modelcar: ModelcarCli, folder: Path) -> None:
    (folder / ".git").mkdir()
    lines = modelcar("plan", folder).splitlines()
    assert lines[0].split() == ["layer", "kind", "size", "sha256"]
    assert [line.endswith("to be hashed") for line in lines[1:5]] == [True] * 4
    assert lines[5:] == ["left out: .git/", "a build would read 324 kB and write no weights"]
    assert not modelcar.home.exists(), "looking creates nothing"


def test_a_plan_as_json_before_and_after_a_build(modelcar: ModelcarCli, checkpoint: Path) -> None:
    plan = modelcar.json("plan", checkpoint)
    assert list(plan) == ["source", "annotations", "layers", "excluded", "notes", "bytesToRead"]
    assert plan["source"] == str(checkpoint)
    assert plan["annotations"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert plan["bytesToRead"] == sum(layer["size"] for layer in plan["layers"])
    assert {layer["digest"] for layer in plan["layers"]} == {None}
    assert plan["layers"][0]["files"] == [
        {"path": "model-00001-of-00003.safetensors", "size": 100_096, "role": "weight", "format": "safetensors"}
    ]
    built = modelcar.json("build", checkpoint, "-t", NAME)
    plan = modelcar.json("plan", checkpoint)
    assert plan["bytesToRead"] == 0
    assert [layer["digest"] for layer in plan["layers"]] == [layer["digest"] for layer in built["layers"]][:4]


def test_a_dry_run_is_a_plan(modelcar: ModelcarCli, checkpoint: Path) -> None:
    assert modelcar("build", checkpoint, "--dry-run") == modelcar("plan", checkpoint)
    assert modelcar.json("build", checkpoint, "-t", NAME, "--dry-run") == modelcar.json("plan", checkpoint)
    assert not modelcar.home.exists()


def test_a_registry_is_named_with_its_domain(modelcar: ModelcarCli, checkpoint: Path) -> None:
    """Else it would be Docker Hub that is asked about."""
    assert modelcar.refusal(2, "plan", checkpoint, "--registry", "ghcr").line == "'ghcr' is not the name of a registry"
    for name in ("ghcr.io", "ghcr.io/acme", "localhost:5000", "docker.io", "acme/llm"):
        assert modelcar.json("plan", checkpoint, "--registry", name)["registry"]["problems"] == []


@pytest.mark.slow
def test_a_dry_run_counts_the_layers_of_a_base(
    modelcar: ModelcarCli, checkpoint: Path, tmp_path: Path, ref: str
) -> None:
    base = put_base(modelcar, tmp_path, ref)
    shutil.rmtree(modelcar.home)
    for name in (base, f"oci:{tmp_path / 'layout'}"):
        words = ("build", checkpoint, "-t", NAME, "--base", name, "--max-layers", "5")
        planned = modelcar.json(*words, "--dry-run")["layers"]
        assert not modelcar.home.exists()
        built = [layer for layer in modelcar.json(*words)["layers"] if layer["kind"] != "index"]
        keys = ("label", "kind", "size")
        assert [[one[key] for key in keys] for one in planned] == [[one[key] for key in keys] for one in built]
        assert (planned[-1]["label"], planned[-1]["digest"]) == ("base linux/amd64", built[-1]["digest"])
        shutil.rmtree(modelcar.home)


@pytest.mark.slow
def test_a_manifest_that_is_too_large_is_refused_before_anything_is_read(
    modelcar: ModelcarCli, checkpoint: Path, ref: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("build", checkpoint, "-t", ref, "--platform", "linux/amd64")
    built = modelcar.json(*words)
    size = len(load(modelcar.store.content, index_of(modelcar, ref).manifests[0]).content)
    modelcar("rm", ref)
    small = replace(UNKNOWN, largest_manifest=size - 20)
    monkeypatch.setattr("modelcar.registry.uploader.Uploader.dialect", lambda *_: small)
    with monkeypatch.context() as patch:
        patch.setattr("modelcar.packaging.build.digest_layers", lambda *_, **__: pytest.fail("something was read"))
        refused = modelcar.refusal(2, *words, "--push")
    assert "the manifest of the image for linux/amd64 has " in refused.line
    assert "--max-layers" in (refused.hint or "")
    assert modelcar.json(*words, "--push", "--dry-run")["registry"]["problems"]
    monkeypatch.setattr("modelcar.registry.uploader.Uploader.dialect", lambda *_: replace(small, largest_manifest=size))
    assert modelcar.json(*words, "--push")["digest"] == built["digest"]


def test_what_can_be_known_to_be_wrong_is_found_before_the_source_is_touched(
    modelcar: ModelcarCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(*_: object) -> Any:
        pytest.fail("a download was begun")

    monkeypatch.setattr("modelcar.checkpoint.hub_source.open_hub", download)
    source = "hf://org/name"
    assert "needs a name" in modelcar.refusal(2, "build", source).line
    digest = f"acme/tiny@sha256:{'0' * 64}"
    assert "has a digest" in modelcar.refusal(2, "build", source, "-t", digest).line
    assert "too long" in modelcar.refusal(2, "build", source, "-t", f"acme/tiny:{'x' * 120}").line
    assert "no holder for" in modelcar.refusal(2, "build", source, "-t", NAME, "--platform", "linux/s390x").line
    assert "not an image reference" in modelcar.refusal(2, "build", source, "-t", NAME, "--base", "A B").line


def test_the_manifest_is_the_one_that_json_shows(modelcar: ModelcarCli, checkpoint: Path) -> None:
    modelcar("build", checkpoint, "-t", NAME)
    source = StoreSource(modelcar.store.content, modelcar.store.names.get(NAME))
    manifest = choose_manifest(source, source.resolve())
    shown = modelcar.json("inspect", NAME)["manifests"][0]
    assert shown["layers"] == json.loads(manifest.content)["layers"]


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--estargz", "--soci"])
def test_images_for_other_snapshotters(
    modelcar: ModelcarCli, checkpoint: Path, tmp_path: Path, ref: str, option: str
) -> None:
    plain = modelcar.json("build", checkpoint, "-t", NAME)
    planned = modelcar.json("build", checkpoint, option, "--dry-run")["layers"]
    assert modelcar.json("plan", checkpoint, option)["layers"] == planned
    answer = modelcar.json("build", checkpoint, "-t", ref, option, "--push")
    known = modelcar.json("plan", checkpoint, option)["layers"]
    assert [layer["digest"] for layer in known] == [layer["digest"] for layer in answer["layers"][: len(known)]]
    assert answer["verdict"] == "clean"
    assert answer["digest"] != plain["digest"]
    assert [layer["size"] for layer in planned] == [layer["size"] for layer in answer["layers"][: len(planned)]]
    validate_in(modelcar.store.content, modelcar.store.names.get(ref))
    assert {file["path"] for file in modelcar.json("inspect", ref, "--remote")["files"]} == files_of(checkpoint).keys()
    assert modelcar.json("scan", ref)["verdict"] == "clean"
    modelcar("export", ref, "-o", tmp_path / "layout")
    modelcar("copy", f"oci:{tmp_path / 'layout'}", f"{ref}-copy")
    modelcar("pull", f"{ref}-copy", "-o", tmp_path / "out")
    assert files_of(tmp_path / "out") == files_of(checkpoint)


def test_an_image_is_for_one_snapshotter(modelcar: ModelcarCli, checkpoint: Path) -> None:
    for command in (("build", checkpoint, "-t", NAME), ("plan", checkpoint)):
        assert "one snapshotter" in modelcar.refusal(2, *command, "--estargz", "--soci").line
    complaint = modelcar.refusal(2, "plan", checkpoint, "--tp", "2", "--soci")
    assert complaint.line == "what a rank needs does not depend on how layers are packed"
    assert complaint.hint == "leave out --soci"
