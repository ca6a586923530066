"""Checkpoints that torch itself wrote become what the safetensors library makes of the same tensors."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelcar.conversion import convert
from modelcar.errors import Denied, MalformedFile, SourceError
from tests.support.safetensors_reader import metadata_of, tensors_of, written

FIXTURES = Path(__file__).parents[2] / "fixtures" / "torch"
VERSIONS = sorted(path.name for path in FIXTURES.iterdir() if path.is_dir())
CORPUS = Path(__file__).parents[2] / "corpus" / "fixtures"
FORMATS = ("", "-legacy")


def converted(name: str, version: str, target: Path) -> Path:
    convert(FIXTURES / version / f"{name}.bin", target)
    return target / f"{name}.safetensors"


def test_there_are_several_versions_of_torch() -> None:
    assert len(VERSIONS) >= 3


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("suffix", FORMATS, ids=["zip", "legacy"])
@pytest.mark.parametrize("name", ["dtypes", "views", "parameters", "trainer"])
def test_files_are_the_same_to_the_byte(name: str, suffix: str, version: str, tmp_path: Path) -> None:
    expected = FIXTURES / version / f"{name}{suffix}.safetensors"
    if not expected.exists():
        expected = FIXTURES / version / f"{name}.safetensors"
    assert converted(f"{name}{suffix}", version, tmp_path / "out").read_bytes() == expected.read_bytes()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("suffix", FORMATS, ids=["zip", "legacy"])
def test_shared_tensors_are_saved_under_the_name_that_the_library_keeps(
    suffix: str, version: str, tmp_path: Path
) -> None:
    file = converted(f"shared{suffix}", version, tmp_path / "out")
    expected = FIXTURES / version / f"shared{suffix}.safetensors"
    assert tensors_of(file) == tensors_of(expected)
    assert metadata_of(file) == metadata_of(expected)
    assert metadata_of(file)["lm_head.weight"] == "decoder.embed.weight"


@pytest.mark.parametrize("version", VERSIONS)
def test_shards(version: str, tmp_path: Path) -> None:
    done = convert(FIXTURES / version / "sharded", tmp_path / "out", max_shard_size=60)
    assert len(done.files) > 1
    assert written(tmp_path / "out") == tensors_of(FIXTURES / version / "sharded.safetensors")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("suffix", FORMATS, ids=["zip", "legacy"])
@pytest.mark.parametrize(("name", "kind"), [("quantized", "quantised"), ("complex128", "complex128")])
def test_what_safetensors_cannot_hold_is_refused_by_name(
    name: str, kind: str, suffix: str, version: str, tmp_path: Path
) -> None:
    with pytest.raises(MalformedFile, match=rf"tensor 'w' is {kind}.* safetensors cannot hold"):
        converted(f"{name}{suffix}", version, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_float8_of_all_kinds(tmp_path: Path) -> None:
    numbers = tensors_of(converted("rare-dtypes", "2.8.0", tmp_path / "out"))
    assert {name: dtype for name, (dtype, _, _) in numbers.items()} == {
        "float8_e4m3fnuz": "F8_E4M3FNUZ",
        "float8_e5m2fnuz": "F8_E5M2FNUZ",
        "float8_e8m0fnu": "F8_E8M0",
    }
    assert all(shape == (2, 3) and len(data) == 6 for _, shape, data in numbers.values())
    # |k / 8 - 1| for k < 6, as E4M3 without a sign of zero and with a bias of 8
    assert numbers["float8_e4m3fnuz"][2] == bytes([0x40, 0x3E, 0x3C, 0x3A, 0x38, 0x34])


def test_torch_may_be_told_to_leave_checksums_out(tmp_path: Path) -> None:
    file = converted("without-checksums", "2.8.0", tmp_path / "out")
    assert file.read_bytes() == (FIXTURES / "2.8.0" / "dtypes.safetensors").read_bytes()


@pytest.mark.parametrize(
    "name", ["torch-zip", "torch-legacy", "torch-protocol-4", "torch-shards", "torch-nested", "torch-protocol-5"]
)
def test_the_same_model_in_all_forms_of_the_newest_torch(name: str, tmp_path: Path) -> None:
    convert(CORPUS / name, tmp_path / "out")
    convert(CORPUS / "torch-parameters", tmp_path / "parameters")
    assert written(tmp_path / "out") == written(tmp_path / "parameters")


@pytest.mark.parametrize("name", ["torch-views", "torch-views-legacy"])
def test_views_of_the_newest_torch(name: str, tmp_path: Path) -> None:
    convert(CORPUS / name, tmp_path / "out")
    found = written(tmp_path / "out")
    assert {name: shape for name, (_, shape, _) in found.items()} == {
        "base": (2, 3, 4),
        "transposed": (4, 3, 2),
        "slice": (2, 2, 4),
        "scalar": (),
        "empty": (0, 3, 4),
    }
    base = found["base"][2]
    assert found["slice"][2] == base[16:48] + base[64:]
    assert found["scalar"][2] == base[:4]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("torch-one-tensor", r"no dict of tensors"),
        ("torch-list", r"no dict of tensors, but this: list"),
        ("torch-parameter-legacy", r"no dict of tensors"),
        ("torch-plain-pickle", r"weights.pkl: is a pickle that torch.save did not write"),
        ("torchscript", r"model.pt: is a TorchScript program"),
        ("torch-exported", r"model.pt2|nothing to do"),
    ],
)
def test_what_holds_no_dict_of_tensors(name: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=problem):
        convert(CORPUS / name, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "imported"),
    [
        ("torch-module", r"torch\.nn\.modules\.container\.Sequential"),
        ("torch-sparse", r"_rebuild_sparse_tensor"),
        ("torch-quantized", r"torch\.per_channel_affine"),
    ],
)
def test_what_is_more_than_tensors_is_refused_with_its_place(name: str, imported: str, tmp_path: Path) -> None:
    with pytest.raises(Denied, match=rf"^pytorch_model\.bin!.*data\.pkl: .*{imported}.*, at byte [0-9]+$"):
        convert(CORPUS / name, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
