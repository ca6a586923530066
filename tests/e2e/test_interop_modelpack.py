"""A reader that knows ModelPack's specification and nothing of ours takes the twin for what it is."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Published
from tests.e2e.support.commands import Modelcar
from tests.e2e.support.modelpack import NotModelPack, check_config, unpack_artifact
from tests.e2e.support.registries import get
from tests.support.checkpoints import files_of, make_checkpoint

pytestmark = pytest.mark.slow


def test_the_tag_for_modelpack_unpacks_to_the_checkpoint(model: Published, embedded: str, tmp_path: Path) -> None:
    config = unpack_artifact(embedded, "acme/tiny", "v1-modelpack", tmp_path)
    assert files_of(tmp_path / "models") == model.files
    assert sorted(p.name for p in tmp_path.iterdir()) == [".modelcar", "models"]
    assert config["config"] == {
        "architecture": "TinyForCausalLM",
        "format": "safetensors",
        "paramSize": "1.5M",
        "precision": "bfloat16",
        "capabilities": {"inputTypes": ["text"], "outputTypes": ["text"]},
    }
    assert config["descriptor"]["licenses"] == ["Apache-2.0"]


def test_the_twin_is_in_the_index_too(model: Published, embedded: str) -> None:
    index = json.loads(get(embedded, "acme/tiny/manifests/v1"))
    twin = index["manifests"][-1]
    assert twin["platform"] == {"architecture": "unknown", "os": "unknown"}
    assert "artifactType" not in twin  # skopeo would drop it, and the index's digest would change
    by_digest = get(embedded, f"acme/tiny/manifests/{twin['digest']}")
    assert by_digest == get(embedded, "acme/tiny/manifests/v1-modelpack")


def test_our_own_pull_takes_the_twin_too(model: Published, modelcar: Modelcar, tmp_path: Path) -> None:
    modelcar("pull", f"{model.ref}-modelpack", "--remote", "-o", tmp_path / "copy")
    assert files_of(tmp_path / "copy") == model.files


def test_many_small_shards_in_one_layer(modelcar: Modelcar, embedded: str, tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "many", shards=9, elements=40_000)
    modelcar("build", folder, "-t", f"{embedded}/acme/many:v1", "--max-layers", "6", "--push")
    unpack_artifact(embedded, "acme/many", "v1-modelpack", tmp_path / "copy")
    assert files_of(tmp_path / "copy/models") == files_of(folder)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda c: c.update(rootfs={}),
        lambda c: c.pop("modelfs"),
        lambda c: c["descriptor"].update(digest="x"),
        lambda c: c["config"].update(parameters=7),
        lambda c: c["config"].update(paramSize="7 billion"),
        lambda c: c["config"].update(precision="bf16"),
        lambda c: c["config"]["capabilities"].update(languages=["english"]),
        lambda c: c["modelfs"].update(diffIds=[]),
    ],
)
def test_the_reader_is_strict(spoil: Callable[[dict[str, Any]], object]) -> None:
    good: dict[str, Any] = {
        "descriptor": {"name": "x", "authors": ["a"]},
        "config": {"precision": "bfloat16", "paramSize": "6.7B", "capabilities": {"languages": ["en"]}},
        "modelfs": {"type": "layers", "diffIds": ["sha256:0"]},
    }
    check_config(good)
    bad = copy.deepcopy(good)
    spoil(bad)
    with pytest.raises(NotModelPack):
        check_config(bad)
