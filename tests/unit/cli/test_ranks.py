"""`modelcar inspect --tensors`, `plan --tp …` and `pull --rank`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from modelcar.images.rank_pull import RANK_FILE
from tests.support.architectures import llama, mixtral, write_checkpoint
from tests.support.checkpoints import files_of
from tests.unit.cli.conftest import ModelcarCli

pytestmark = pytest.mark.slow

GUIDE = Path(__file__).parents[3] / "docs" / "how-to" / "ranks.md"
MODEL = llama(layers=4, vocabulary=256)
EXPERTS = mixtral(layers=2, experts=8)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_checkpoint(tmp_path / "llama", MODEL, shards=4)
    return tmp_path / "llama"


@pytest.fixture
def experts(tmp_path: Path) -> Path:
    write_checkpoint(tmp_path / "mixtral", EXPERTS, shards=3)
    return tmp_path / "mixtral"


@pytest.fixture
def pushed(modelcar: ModelcarCli, model: Path, ref: str) -> str:
    """In the registry, and nowhere else."""
    modelcar("build", model, "-t", ref, "--push")
    modelcar("rm", ref)
    return ref


def test_tensors_of_a_folder_an_image_and_a_layout(
    modelcar: ModelcarCli, model: Path, ref: str, tmp_path: Path
) -> None:
    folder = modelcar.json("inspect", model, "--tensors")
    assert list(folder) == ["name", "tensors", "dtypes"]
    assert [entry["name"] for entry in folder["tensors"]] == list(MODEL.tensors)
    assert folder["tensors"][0].keys() == {"name", "dtype", "shape", "size", "file", "offset"}
    elements = sum(tensor.elements for tensor in MODEL.files()[0].tensors)
    assert folder["dtypes"] == {
        "BF16": {"tensors": len(MODEL.tensors), "elements": elements, "bytes": 2 * elements},
    }
    modelcar("build", model, "-t", ref, "--push")
    modelcar("export", ref, "-o", tmp_path / "layout")
    here = modelcar.json("inspect", ref, "--tensors")
    assert here == {**modelcar.json("inspect", f"oci:{tmp_path / 'layout'}", "--tensors"), "name": ref}
    assert here == modelcar.json("inspect", ref, "--tensors", "--remote")
    assert [{k: v for k, v in t.items() if k != "layer"} for t in here["tensors"]] == folder["tensors"]
    layers = {file["path"]: file["layer"] for file in modelcar.json("inspect", ref)["files"]}
    assert all(entry["layer"] == layers[entry["file"]] for entry in here["tensors"])


def test_tensors_as_text(modelcar: ModelcarCli, model: Path) -> None:
    tensors, totals = modelcar("inspect", model, "--tensors").split("\n\n")
    lines = tensors.splitlines()
    assert lines[0].split() == ["tensor", "dtype", "shape", "size", "file"]
    assert lines[1].split() == [
        "model.embed_tokens.weight", "BF16", "256x32", "16.4", "kB", "model-00001-of-00004.safetensors",
    ]  # fmt: skip
    assert len(lines) == 1 + len(MODEL.tensors)
    assert totals.splitlines()[2].split()[:2] == ["BF16", str(len(MODEL.tensors))]


def test_a_folder_is_no_image(modelcar: ModelcarCli, model: Path) -> None:
    assert modelcar.refusal(2, "inspect", model).line == f"{model} is no image"


def test_all_ranks(modelcar: ModelcarCli, model: Path) -> None:
    answer = modelcar.json("plan", model, "--tp", "2", "--pp", "2")
    assert list(answer) == ["name", "tp", "pp", "ep", "size", "ranks"]
    assert [(r["rank"], r["stage"], r["slice"]) for r in answer["ranks"]] == [
        (0, 0, 0),
        (1, 0, 1),
        (2, 1, 0),
        (3, 1, 1),
    ]
    assert all(0 < r["share"] < 0.8 for r in answer["ranks"])
    assert answer["size"] == sum(path.stat().st_size for path in model.iterdir())
    lines = modelcar("plan", model, "--tp", "2", "--pp", "2").splitlines()
    assert lines[0].split() == ["rank", "stage", "slice", "experts", "needs", "share", "keeps"]
    assert [line.split()[0] for line in lines[1:5]] == ["0", "1", "2", "3"]
    assert lines[5].startswith("of ")


def ranges_of(answer: Any, folder: Path) -> dict[str, bytes]:
    """The bytes that a plan names, of the files that it names."""
    return {
        file["path"]: b"".join(
            (folder / file["path"]).read_bytes()[offset : offset + size] for offset, size in file["ranges"]
        )
        for file in answer["files"]
    }


def test_what_a_rank_needs_of_an_image_is_what_it_needs_of_the_folder(
    modelcar: ModelcarCli, model: Path, pushed: str
) -> None:
    options = ("--tp", "4", "--pp", "2", "--rank", "5")
    folder, image = modelcar.json("plan", model, *options), modelcar.json("plan", pushed, *options)
    assert list(image) == [
        "name", "tp", "pp", "ep", "ranks", "size", "bytes", "share", "bytesKept", "bytesOfWholeTensors", "whole",
        "files",
    ]  # fmt: skip
    for file in image["files"]:
        assert file.pop("layer").startswith("sha256:")
        assert file.pop("offset") > 0
    for answer in (image, folder):
        answer["files"].sort(key=lambda file: file["path"])
    assert {**image, "name": None} == {**folder, "name": None}
    assert folder["bytes"] == sum(map(len, ranges_of(folder, model).values()))
    assert folder["bytes"] < folder["bytesOfWholeTensors"] < folder["size"]
    sliced = {t["name"]: t for file in folder["files"] for t in file.get("tensors", ())}
    assert sliced["model.layers.2.mlp.up_proj.weight"] == {
        "name": "model.layers.2.mlp.up_proj.weight", "dimension": 0, "spans": [[24, 48]],
    }  # fmt: skip
    assert sliced["model.norm.weight"] == {"name": "model.norm.weight"}
    assert "model.layers.1.mlp.up_proj.weight" not in sliced


def test_a_rank_as_text(modelcar: ModelcarCli, model: Path) -> None:
    lines = modelcar("plan", model, "--pp", "2", "--rank", "0").splitlines()
    assert lines[0].split() == ["file", "needs", "share", "tensors", "ranges"]
    assert lines[-3] == "nothing of 2 other files"
    assert lines[-2].startswith("rank 0 of pp 2: ")
    assert lines[-1].startswith("in whole tensors, as `pull --rank` brings them: ")
    several = modelcar("plan", model, "--pp", "2", "--rank", "0-1").splitlines()
    assert several[-3] == "something of every file"
    assert several[-2].startswith("ranks 0, 1 of pp 2: ")
    assert "(100.0 %)" in several[-2]
    assert "(100.0 %)" in several[-1]


def test_what_cannot_be_sliced_is_said(modelcar: ModelcarCli, model: Path) -> None:
    (model / "config.json").write_text("{}")
    out = modelcar("plan", model, "--tp", "4", "--rank", "1")
    assert "are taken whole: its shape is not what config.json lets expect" in out


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--tp", "4", "--rank", "4"), "there is no rank 4"),
        (("--tp", "4", "--rank", "0-4"), "there is no rank 4"),
        (("--tp", "4", "--rank", "one"), "'one' names no ranks"),
        (("--tp", "4", "--rank", "3-1"), "'3-1' names no ranks"),
        (("--rank", ""), "'' names no ranks"),
        (("--pp", "5", "--rank", "0"), "4 layers cannot be divided over 5 pipeline stages"),
        (("--pp", "2", "--stages", "1,2", "--rank", "0"), "the stages have 3 layers and the model has 4"),
        (("--pp", "2", "--stages", "x"), "'x' is no list of numbers of layers"),
        (("--tp", "4", "--ep", "3"), "3 expert-parallel groups do not fit 4 tensor-parallel ranks"),
    ],
)
def test_divisions_that_make_no_sense(modelcar: ModelcarCli, model: Path, options: tuple[str, ...], line: str) -> None:
    assert modelcar.refusal(2, "plan", model, *options).line == line


def test_pull_a_stage(modelcar: ModelcarCli, model: Path, pushed: str, tmp_path: Path) -> None:
    target = tmp_path / "stage"
    answer = modelcar.json("pull", pushed, "-o", target, "--pp", "2", "--rank", "0")
    assert list(answer) == [
        "name", "digest", "folder", "ranks", "files", "size", "tensorsLeftOut", "bytesLeftOut", "seconds",
    ]  # fmt: skip
    assert answer["files"] == len([path for path in target.iterdir() if path.is_file()])
    assert answer["tensorsLeftOut"] > 0
    kept = json.loads((target / "model.safetensors.index.json").read_text())["weight_map"]
    assert {name for name in kept if ".layers.2." in name or ".layers.3." in name} == set()
    for path in sorted(set(kept.values())):
        assert (target / path).stat().st_size <= (model / path).stat().st_size
    assert json.loads((target / RANK_FILE).read_text())["image"] == pushed


@pytest.mark.parametrize("options", [("--pp", "2", "--rank", "0"), ("--tp", "2", "--rank", "0")])
def test_a_part_of_a_model_is_not_built(
    modelcar: ModelcarCli, pushed: str, tmp_path: Path, options: tuple[str, ...]
) -> None:
    part = tmp_path / "part"
    modelcar("pull", pushed, "-o", part, *options)
    for command in (("build", part, "-t", "localhost/acme/part:v1"), ("plan", part)):
        complaint = modelcar.refusal(2, *command)
        assert complaint.line == f"{part} holds what some ranks need of a model ({RANK_FILE}), and not the model"
        assert complaint.hint == "package the original, or pull it without --rank"
    assert modelcar.json("scan", part)["verdict"] == "clean", "it can be looked at all the same"


def test_pull_slices_as_text(modelcar: ModelcarCli, model: Path, pushed: str, tmp_path: Path) -> None:
    lines = modelcar("pull", pushed, "-o", tmp_path / "all", "--tp", "2", "--rank", "1").splitlines()
    assert lines[1] == "for rank 1 of tp 2: they have something of every tensor, so this is the whole model"
    files = files_of(tmp_path / "all")
    del files[RANK_FILE]
    assert files == files_of(model)


def test_pull_experts_as_text(modelcar: ModelcarCli, experts: Path, ref: str, tmp_path: Path) -> None:
    modelcar("build", experts, "-t", ref, "--push")
    lines = modelcar("pull", ref, "-o", tmp_path / "some", "--tp", "4", "--ep", "4", "--rank", "0-1").splitlines()
    assert lines[1].startswith(f"for ranks 0, 1 of tp 4, ep 4: {2 * 4 * 3} tensors (")
    assert lines[1].endswith(" left out")


def test_the_guide_from_python(pushed: str, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    exec(block.replace("ghcr.io/acme/llm:v1", pushed), {})  # noqa: S102  # our own document
    part, size = capsys.readouterr().out.splitlines()
    assert part.startswith("0 ((60, 72),) ((")
    assert size == "64"


def test_pull_for_a_rank_needs_a_folder_and_a_rank(modelcar: ModelcarCli, pushed: str, tmp_path: Path) -> None:
    for options in (("--tp", "2", "--rank", "0"), ("--tp", "2", "-o", tmp_path / "x")):
        complaint = modelcar.refusal(2, "pull", pushed, *options)
        assert complaint.line == "a rank's part of a model goes into a folder"
        assert complaint.hint == "add --rank R and -o DIR"
    assert not (tmp_path / "x").exists()


def test_images_without_an_index(modelcar: ModelcarCli, pushed: str, tmp_path: Path) -> None:
    for command in (("plan", "--tp", "2"), ("inspect", "--tensors"), ("pull", "--rank", "0", "-o", tmp_path / "x")):
        complaint = modelcar.refusal(2, command[0], f"{pushed}-modelpack", *command[1:])
        assert complaint.line == "the image has no model index, so nothing of it can be read alone"
    assert not (tmp_path / "x").exists()
