"""Adapters name their base, and fine-tunes share what they did not change."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelcar import open_model
from modelcar.oci import Digest, ImageConfig, Index, Manifest, Reference
from modelcar.registry import Registry
from modelcar.store.base import read_document, write_document
from modelcar.store.tree import load
from registry_shim.testing import running_registry
from tests.support.checkpoints import age, files_of
from tests.support.weights import safetensors_bytes
from tests.unit.cli.conftest import ModelcarCli

pytestmark = pytest.mark.slow

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


ADAPTER_FILE = "adapters/poet/adapter_model.safetensors"


@pytest.fixture
def base(modelcar: ModelcarCli, checkpoint: Path, ref: str) -> dict[str, Any]:
    """An image of `checkpoint` at `ref`, which nothing here has any more."""
    built: dict[str, Any] = modelcar.json("build", checkpoint, "-t", ref, "--push")
    modelcar("rm", ref)
    return built


def weights_of(built: dict[str, Any]) -> list[str]:
    return [layer["digest"] for layer in built["layers"] if layer["kind"] in ("weights", "files")]


def other_name(ref: str, name: str = "poet") -> str:
    return f"{ref.partition('/')[0]}/{name}-{ref.split('/')[1]}:v1"


@pytest.mark.parametrize("here", [False, True])
def test_one_image_with_base_and_adapter(
    modelcar: ModelcarCli, checkpoint: Path, adapter: Path, base: dict[str, Any], ref: str, tmp_path: Path, here: bool
) -> None:
    if here:
        modelcar("build", checkpoint, "-t", ref, "-q")
    name = other_name(ref)
    options = ("--adapter-of", ref, "--with-base", "--adapter-name", "poet")
    built = modelcar.json("build", adapter, "-t", name, *options, "--push")
    assert weights_of(built)[: len(weights_of(base))] == weights_of(base)
    assert built["sent"] < 64 << 10, "the base is mounted"
    if not here:
        kept = sum(path.stat().st_size for path in (modelcar.home / "store").rglob("*") if path.is_file())
        assert kept < base["modelSize"] // 2, "and not brought here"
    expected = files_of(checkpoint) | {f"adapters/poet/{path}": data for path, data in files_of(adapter).items()}
    modelcar("pull", name, "-o", tmp_path / "both", "-q")
    assert files_of(tmp_path / "both") == expected
    with Registry() as registry:
        pushed = Reference.parse(name)
        index = registry.manifest(pushed)
        assert isinstance(index, Index)
        for entry in index.manifests[:2]:
            manifest = registry.manifest(pushed, entry)
            assert isinstance(manifest, Manifest)
            with registry.open_blob(pushed, manifest.config) as stream:
                config = ImageConfig.parse(stream.read())
            assert list(config.diff_ids) == [layer.digest for layer in manifest.layers]
    with open_model(name) as model:
        assert set(model.files) == set(expected)
        assert model.read(ADAPTER_FILE) == expected[ADAPTER_FILE]
        assert len(model.read_tensor("model.layers.2.weight")) == 100_000
        for layer in model.layers:
            model.check_places(layer)
    assert all(image["size"] > base["modelSize"] for image in modelcar.json("list"))


@pytest.mark.parametrize(
    "options",
    [["--with-base"], ["--with-base", "--adapter-name", "poet"], ["--adapter-name", "poet"], []],
    ids=["its base", "both", "its name", "neither"],
)
def test_a_dry_run_says_what_would_be_built(
    modelcar: ModelcarCli, adapter: Path, base: dict[str, Any], ref: str, options: list[str]
) -> None:
    words: list[str | Path] = ["build", adapter, "-t", other_name(ref), "--adapter-of", ref, *options]
    shutil.rmtree(modelcar.home)
    planned = modelcar.json(*words, "--dry-run")
    assert not (modelcar.home / "store").exists()
    built = modelcar.json(*words, "--push")
    layers = [layer for layer in built["layers"] if layer["kind"] in ("weights", "files")]
    assert [(one["label"], one["kind"], one["size"]) for one in planned["layers"]] == [
        (one["label"], one["kind"], one["size"]) for one in layers
    ]
    below = len(layers) - 2
    assert [one["digest"] for one in planned["layers"]] == [*(one["digest"] for one in layers[:below]), None, None]
    assert planned["annotations"] == said_by(modelcar, built["digest"])[0]
    shown = {(file["path"], file["size"]) for file in modelcar.json("inspect", other_name(ref))["files"]}
    assert {(file["path"], file["size"]) for layer in planned["layers"] for file in layer["files"]} == shown
    assert [one["digest"] for one in modelcar.json(*words, "--dry-run")["layers"]] == [one["digest"] for one in layers]


def test_a_dry_run_refuses_what_a_build_refuses(modelcar: ModelcarCli, checkpoint: Path, adapter: Path) -> None:
    for words in (
        (adapter, "-t", "acme/a:v1", "--with-base"),
        (checkpoint, "-t", "acme/a:v1", "--adapter-name", "poet"),
        (adapter, "-t", "acme/a:v1", "--adapter-name", "../poet"),
        (adapter, "-t", "acme/a:v1", "--base", "oci:/nowhere"),
        (adapter, "-t", "acme/a:v1", "--no-cache"),
        (adapter, "-t", f"acme/a@sha256:{'0' * 64}"),
    ):
        assert modelcar.refusal(2, "build", *words, "--dry-run") == modelcar.refusal(2, "build", *words)
    assert "called as the image" in modelcar.refusal(2, "build", adapter, "--dry-run", "--with-base").line


def test_layers_that_only_a_registry_has_go_on_from_there(
    modelcar: ModelcarCli, checkpoint: Path, adapter: Path, base: dict[str, Any], ref: str, tmp_path: Path
) -> None:
    name = other_name(ref)
    built = modelcar.json("build", adapter, "-t", name, "--adapter-of", ref, "--with-base")
    assert not any(image["size"] is None for image in modelcar.json("list"))
    refusal = modelcar.refusal(2, "export", name, "-o", tmp_path / "layout")
    assert f"it is in {ref.removesuffix(':v1')}" in refusal.line
    with running_registry() as elsewhere:
        target = f"{elsewhere}/acme/both:v1"
        pushed = modelcar.json("push", name, target)
        assert pushed["digest"] == built["digest"]
        assert pushed["sent"] > base["modelSize"] // 2
        modelcar("pull", target, "-o", tmp_path / "both", "-q")
    folder = name.rpartition("/")[2].removesuffix(":v1")
    assert (tmp_path / "both" / "adapters" / folder / "adapter_model.safetensors").is_file()
    assert (tmp_path / "both" / "config.json").read_bytes() == (checkpoint / "config.json").read_bytes()


def test_an_adapter_on_an_adapter(
    modelcar: ModelcarCli, adapter: Path, base: dict[str, Any], ref: str, tmp_path: Path
) -> None:
    one, two = other_name(ref, "one"), other_name(ref, "two")
    modelcar("build", adapter, "-t", one, "--adapter-of", ref, "--with-base", "--adapter-name", "one", "--push", "-q")
    options = ("--adapter-of", one, "--with-base", "--adapter-name")
    refusal = modelcar.refusal(2, "build", adapter, "-t", two, *options, "one")
    assert refusal.line == "the base has a file adapters/one/adapter_config.json, too"
    modelcar("build", adapter, "-t", two, *options, "two", "--push", "-q")
    modelcar("pull", two, "-o", tmp_path / "both", "-q")
    assert sorted(path.name for path in (tmp_path / "both" / "adapters").iterdir()) == ["one", "two"]


def test_an_adapter_in_a_folder_without_its_base(
    modelcar: ModelcarCli, adapter: Path, ref: str, tmp_path: Path
) -> None:
    modelcar("build", adapter, "-t", ref, "--adapter-name", "poet", "--push", "-q")
    modelcar("pull", ref, "-o", tmp_path / "copy", "-q")
    assert files_of(tmp_path / "copy") == {f"adapters/poet/{path}": data for path, data in files_of(adapter).items()}
    scanned = modelcar.json("scan", ref)
    assert {file["path"] for file in scanned["files"]} == set(files_of(tmp_path / "copy"))


@pytest.mark.parametrize(
    ("card", "licenses"),
    [("license: mit", "Apache-2.0 AND MIT"), ("license: apache-2.0", "Apache-2.0"), ("tags: [lora]", None)],
)
def test_what_an_image_with_its_base_says_of_its_model(
    modelcar: ModelcarCli, checkpoint: Path, adapter: Path, card: str, licenses: str | None
) -> None:
    modelcar("build", checkpoint, "-t", "acme/base:v1", "-q")
    (adapter / "README.md").write_text(f"---\n{card}\n---\n# Poet\n")
    built = modelcar.json("build", adapter, "-t", "acme/x:v1", "--adapter-of", "acme/base:v1", "--with-base")
    for said in said_by(modelcar, built["digest"]):
        assert said.get("org.opencontainers.image.licenses") == licenses
        assert said["dev.modelcar.model.precision"] == "bfloat16"
        assert said[NAME] == str(Reference.parse("acme/base:v1"))


def test_what_makes_no_sense_with_a_base(
    modelcar: ModelcarCli, checkpoint: Path, adapter: Path, base: dict[str, Any], ref: str
) -> None:
    def refused(*options: str, source: Path = adapter) -> str:
        return modelcar.refusal(2, "build", source, "-t", "acme/x:v1", *options).line

    assert refused("--with-base") == "nothing says which base the image shall have"
    assert refused("--adapter-name", "../x") == "'../x' cannot be an adapter's name"
    assert "--adapter-name is for adapters" in refused("--adapter-name", "x", source=checkpoint)
    assert refused("--adapter-of", ref, "--with-base", "--estargz") == (
        "an image with its base is a plain one, and cannot be packed as estargz"
    )
    assert "leave no room" in refused("--adapter-of", ref, "--with-base", "--max-layers", "5")
    packed = other_name(ref, "packed")
    modelcar("build", checkpoint, "-t", packed, "--estargz", "-q")
    assert "compressed layers" in refused("--adapter-of", packed, "--with-base")


@pytest.mark.parametrize("lie", ["diff id", "index", "count"])
def test_a_base_that_lies(modelcar: ModelcarCli, checkpoint: Path, adapter: Path, lie: str) -> None:
    modelcar("build", checkpoint, "-t", "acme/base:v1", "-q")
    store = modelcar.store
    name = str(Reference.parse("acme/base:v1"))
    index = load(store.content, store.names.get(name))
    assert isinstance(index, Index)
    manifest = load(store.content, index.manifests[0])
    assert isinstance(manifest, Manifest)
    if lie == "index":
        first, *others = manifest.layers
        manifest = manifest.edited(layers=(replace(first, size=first.size + 1), *others))
    else:
        config = ImageConfig.parse(read_document(store.content, manifest.config))
        wrong = config.diff_ids[1:] if lie == "count" else (config.diff_ids[1], *config.diff_ids[1:])
        config = config.edited(diff_ids=wrong, history=())
        write_document(store.content, config.content, config.digest)
        manifest = manifest.edited(config=config.descriptor)
    write_document(store.content, manifest.content, manifest.digest)
    store.names.put(name, manifest.descriptor)
    options = ("--adapter-of", "acme/base:v1", "--with-base")
    refusal = modelcar.refusal(1, "build", adapter, "-t", "acme/x:v1", *options)
    said = {"diff id": "and its diff id is", "index": "its model index gives layer", "count": "diff ids"}
    assert said[lie] in refusal.line


def test_layers_are_mounted_from_where_one_says(
    modelcar: ModelcarCli, checkpoint: Path, ref: str, registry: str
) -> None:
    modelcar("build", checkpoint, "-t", ref, "--push", "-q")
    place = Reference.parse(ref).repository
    target = other_name(ref, "pushed")
    pushed = modelcar.json("push", ref, target, "--mount-from", place)
    assert (pushed["sent"], pushed["reused"]) == (0, pytest.approx(pushed["size"], rel=0.1))
    again = ("--push", "--mount-from", f"{registry}/{place}")
    built = modelcar.json("build", checkpoint, "-t", other_name(ref, "built"), *again)
    assert built["sent"] == 0
    refusal = modelcar.refusal(2, "push", ref, target, "--mount-from", "ghcr.io/acme/llm")
    assert refusal.line == f"layers are mounted within one registry, and ghcr.io/acme/llm is not in {registry}"


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


def test_a_folder_and_the_image_that_was_built_of_it_are_the_same(
    modelcar: ModelcarCli, checkpoint: Path, tmp_path: Path, ref: str
) -> None:
    """As its layers are remembered, and no file's own digest."""
    modelcar("build", checkpoint, "-t", ref, "--push")
    assert "are the same model" in modelcar("diff", checkpoint, ref)
    assert "are the same model" in modelcar("diff", ref, checkpoint, "--remote")
    copy = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    status, _, aside = modelcar.run("diff", copy, ref)
    assert status == 1
    assert "--content-digest" in aside


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
