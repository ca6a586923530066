"""`modelcar convert`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.torch_writer import Raw, Storage, Tensor, zipped
from tests.unit.cli.conftest import ModelcarCli

STORAGE = Storage(key="0", data=bytes(range(24)))
TENSOR = Tensor(storage=STORAGE, shape=(2, 3))
NUMBERS = {"0": STORAGE.data}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    model = tmp_path / "old"
    model.mkdir()
    value = {"epoch": 3, "state_dict": {"lm_head.weight": TENSOR, "wte.weight": TENSOR}}
    (model / "pytorch_model.bin").write_bytes(zipped(value, NUMBERS))
    (model / "config.json").write_text("{}")
    return model


def test_what_it_tells_people(modelcar: ModelcarCli, model: Path, tmp_path: Path) -> None:
    status, out, err = modelcar.run("convert", model, "-o", tmp_path / "new")
    assert status == 0
    assert "model.safetensors" in out
    assert f"converted 1 tensor (168 B) into {tmp_path / 'new'}" in out
    assert "names of one tensor are saved once: wte.weight is lm_head.weight" in err
    assert "left out of pytorch_model.bin: epoch (int)" in err


def test_what_it_tells_programs(modelcar: ModelcarCli, model: Path, tmp_path: Path) -> None:
    document = modelcar.json("convert", model, "-o", tmp_path / "new")
    assert document.pop("seconds") >= 0
    size = (tmp_path / "new" / "model.safetensors").stat().st_size
    assert document == {
        "source": str(model),
        "folder": str(tmp_path / "new"),
        "files": [{"path": "model.safetensors", "size": size, "tensors": 1, "from": ["pytorch_model.bin"]}],
        "copied": ["config.json"],
        "shared": {"wte.weight": "lm_head.weight"},
        "leftOut": [{"path": "pytorch_model.bin", "key": "epoch", "why": "int"}],
        "tensors": 1,
        "size": size,
    }


def test_what_was_converted_can_be_built(modelcar: ModelcarCli, model: Path, tmp_path: Path) -> None:
    modelcar.run("convert", model, "-o", tmp_path / "new")
    assert modelcar.json("build", tmp_path / "new", "-t", "localhost:5000/acme/tiny:v1")["digest"]


def test_a_pickle_that_runs_something(modelcar: ModelcarCli, tmp_path: Path) -> None:
    evil = Raw(b"cposix\nsystem\n(X\x02\x00\x00\x00idtR")
    (tmp_path / "x.pt").write_bytes(zipped({"w": TENSOR, "x": evil}, NUMBERS))
    said = modelcar.refusal(1, "convert", tmp_path / "x.pt", "-o", tmp_path / "new")
    assert said.line.startswith(
        "x.pt!archive/data.pkl: loading it runs a function that can do anything: 'posix.system'"
    )
    assert not (tmp_path / "new").exists()


def test_sizes_and_shards(modelcar: ModelcarCli, model: Path, tmp_path: Path) -> None:
    said = modelcar.refusal(2, "convert", model, "-o", tmp_path / "new", "--max-shard-size", "5Gb")
    assert "20GiB" in said.hint
    two = {"a": TENSOR, "b": Tensor(storage=STORAGE, shape=(3,))}
    (model / "pytorch_model.bin").write_bytes(zipped(two, NUMBERS))
    document = modelcar.json("convert", model, "-o", tmp_path / "new", "--max-shard-size", "20B")
    assert [file["tensors"] for file in document["files"]] == [1, 1]
    index = json.loads((tmp_path / "new" / "model.safetensors.index.json").read_text())
    assert index["metadata"] == {"total_size": 36}
    _, _, said_aside = modelcar.run("convert", model, "-o", tmp_path / "again", "--max-shard-size", "20B")
    assert "00001-of-00002.safetensors and 1 more are larger than 20B: a tensor is not divided" in said_aside


def test_another_key(modelcar: ModelcarCli, tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(zipped({"g": {"a": TENSOR}, "d": {"b": TENSOR}}, NUMBERS))
    said = modelcar.refusal(2, "convert", tmp_path / "x.pt", "-o", tmp_path / "new")
    assert "--key" in said.hint
    assert modelcar.json("convert", tmp_path / "x.pt", "-o", tmp_path / "new", "--key", "d")["tensors"] == 1
