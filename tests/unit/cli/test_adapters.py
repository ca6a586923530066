"""Adapters name their base, and fine-tunes share what they did not change."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from modelcar.oci import Digest, Index, Manifest, Reference
from modelcar.registry import Registry
from modelcar.store.tree import load
from tests.support.checkpoints import age
from tests.support.weights import safetensors_bytes
from tests.unit.cli.conftest import ModelcarCli

Weights = dict[str, tuple[str, tuple[int, ...], bytes]]
NAME, DIGEST = "dev.modelcar.adapter.base.name", "dev.modelcar.adapter.base.digest"


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    folder = tmp_path / "adapter"
    folder.mkdir()
    weights: Weights = {"base_model.model.lora_A.weight": ("F32", (2, 4), bytes(32))}
    (folder / "adapter_model.safetensors").write_bytes(safetensors_bytes(weights))
    (folder / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "base_model_name_or_path": "org/base"})
    )
    age(folder)
    return folder


def said_by(modelcar: ModelcarCli, digest: str) -> list[dict[str, str]]:
    """Of the index and of every image in it."""
    content = modelcar.store.content
    root = next(root for root in modelcar.store.names.list().values() if root.digest == Digest.parse(digest))
    index = load(content, root)
    assert isinstance(index, Index)
    manifests = [load(content, entry) for entry in index.manifests]
    return [dict(index.annotations), *(dict(m.annotations) for m in manifests if isinstance(m, Manifest))]


@pytest.mark.parametrize("where", ["store", "registry"])
def test_an_adapter_names_its_base_by_digest(
    modelcar: ModelcarCli, checkpoint: Path, adapter: Path, ref: str, where: str
) -> None:
    base = modelcar.json("build", checkpoint, "-t", ref, "--push")["digest"]
    if where == "registry":
        modelcar("rm", ref)
    built = modelcar.json("build", adapter, "-t", "acme/adapter:v1", "--adapter-of", ref)
    found = said_by(modelcar, built["digest"])
    assert len(found) == 4, "the index, two platforms and the twin"
    assert all((each[NAME], each[DIGEST]) == (ref, base) for each in found)
    assert not [key for key in found[0] if key.startswith("org.opencontainers.image.base")]


def test_the_base_is_that_of_the_moment(
    modelcar: ModelcarCli, checkpoint: Path, folder: Path, adapter: Path, ref: str
) -> None:
    first = modelcar.json("build", checkpoint, "-t", ref)["digest"]
    built = modelcar.json("build", adapter, "-t", "acme/adapter:v1", "--adapter-of", ref)["digest"]
    (folder / "config.json").write_text("{}")
    assert modelcar.json("build", folder, "-t", ref)["digest"] != first
    assert said_by(modelcar, built)[0][DIGEST] == first
    pinned = f"{ref}@{first}"
    complaint = modelcar.refusal(3, "build", adapter, "-t", "acme/other:v1", "--adapter-of", pinned)
    assert first[:20] in complaint.line or "not" in complaint.line


def test_without_the_option_nothing_is_said(modelcar: ModelcarCli, adapter: Path) -> None:
    built = modelcar.json("build", adapter, "-t", "acme/adapter:v1")["digest"]
    assert not [key for each in said_by(modelcar, built) for key in each if "adapter" in key]


def test_whole_models_and_missing_bases_are_refused(
    modelcar: ModelcarCli, checkpoint: Path, adapter: Path, registry: str
) -> None:
    modelcar("build", checkpoint, "-t", "acme/base:v1", "-q")
    complaint = modelcar.refusal(2, "build", checkpoint, "-t", "acme/x:v1", "--adapter-of", "acme/base:v1")
    assert "these are the weights of a whole model" in complaint.line
    complaint = modelcar.refusal(3, "build", adapter, "-t", "acme/x:v1", "--adapter-of", f"{registry}/no/such:v1")
    assert "no/such" in complaint.line
    assert [image["name"] for image in modelcar.json("list")] == [str(Reference.parse("acme/base:v1"))]


def test_a_fine_tune_sends_only_what_it_changed(
    modelcar: ModelcarCli, checkpoint: Path, tmp_path: Path, ref: str
) -> None:
    tuned = Path(shutil.copytree(checkpoint, tmp_path / "tuned"))
    changed = tuned / "model-00002-of-00003.safetensors"
    content = bytearray(changed.read_bytes())
    content[-1] ^= 1
    changed.write_bytes(content)
    age(tuned)
    first = modelcar.json("build", checkpoint, "-t", ref, "--push")
    other = ref.replace(":v1", ":v2")
    second = modelcar.json("build", tuned, "-t", other)
    new = {layer["label"] for layer in second["layers"] if layer not in first["layers"]}
    assert new == {changed.name, "model index"}
    with Registry() as registry:
        missing = {
            layer["label"]
            for layer in second["layers"]
            if not registry.has_blob(Reference.parse(other), Digest.parse(layer["digest"]), layer["size"])
        }
    assert missing == new
    difference = modelcar.run("diff", ref, other, "--json")
    assert difference[0] == 1
    files = {file["path"]: file["change"] for file in json.loads(difference[1])["files"]}
    assert {path for path, change in files.items() if change != "same"} == {changed.name}


def test_diff_by_tensor(modelcar: ModelcarCli, adapter: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(adapter, tmp_path / "other"))
    weights: Weights = {
        "base_model.model.lora_A.weight": ("F32", (4, 4), bytes(64)),
        "base_model.model.lora_B.weight": ("F32", (4, 2), bytes(32)),
    }
    (other / "adapter_model.safetensors").write_bytes(safetensors_bytes(weights))
    modelcar("build", adapter, "-t", "acme/adapter:v1", "-q")
    _, out, _ = modelcar.run("diff", "acme/adapter:v1", other, "--json")
    assert json.loads(out)["tensors"] == [
        {
            "name": "base_model.model.lora_A.weight",
            "change": "changed",
            "before": "F32 [2, 4]",
            "after": "F32 [4, 4]",
        },
        {"name": "base_model.model.lora_B.weight", "change": "added", "before": None, "after": "F32 [4, 2]"},
    ]
