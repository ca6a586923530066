"""Nothing that a file says is believed: one clear line, and nothing is written."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelcar.conversion import convert
from modelcar.errors import Denied, MalformedFile, ModelcarError, SourceError, UsageError
from tests.support.torch_writer import Ordered, Raw, Storage, Tensor, legacy, pickle_of, zipped
from tests.support.zips import DEFLATED, Member, make_zip, zeros

NUMBERS = struct.pack("<6f", *range(6))
STORAGE = Storage(key="0", data=NUMBERS)
TENSOR = Tensor(storage=STORAGE, shape=(2, 3))
SYSTEM = Raw(b"cposix\nsystem\n(X\x02\x00\x00\x00idtR")
UNKNOWN = Raw(b"comegaconf\nDictConfig\n)R")


def refused(content: bytes, tmp_path: Path, kind: type[ModelcarError] = MalformedFile) -> str:
    """The line that the conversion of such a file ends with."""
    file = tmp_path / "pytorch_model.bin"
    file.write_bytes(content)
    with pytest.raises(kind) as caught:
        convert(file, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [file]
    assert str(caught.value).isprintable()
    assert str(caught.value).startswith("pytorch_model.bin")
    return str(caught.value)


def both(value: Any, storage: Storage = STORAGE) -> list[bytes]:
    """The same checkpoint in both formats."""
    zip_file = zipped(value, {storage.key: storage.data})
    return [zip_file, legacy(value, {storage.key: (storage.count, storage.data)})]


def members(tensor: Tensor = TENSOR, **changes: Any) -> list[Member]:
    """Of a good checkpoint; `changes` are those of the member that holds the numbers."""
    pickle = Member(name=b"archive/data.pkl", data=pickle_of({"w": tensor}))
    return [pickle, replace(Member(name=b"archive/data/0", data=NUMBERS), **changes)]


@pytest.mark.parametrize("content", both({"w": TENSOR}), ids=["zip", "legacy"])
def test_the_good_ones_are_good(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(content)
    assert convert(tmp_path / "pytorch_model.bin", tmp_path / "out").tensors == 1


# Pickles


@pytest.mark.parametrize("at", [0, 1], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({"w": TENSOR, "x": SYSTEM}, r"'posix.system'"),
        ({"state_dict": {"w": TENSOR}, "x": SYSTEM}, r"'posix.system'"),
        ({"w": TENSOR, "x": UNKNOWN}, r"'omegaconf.DictConfig'"),
        ({"w": TENSOR, "x": (SYSTEM,)}, r"'posix.system'"),
        ({"w": TENSOR, "x": Raw(b"\x82\x01")}, "imports something by a number"),
        ({"w": TENSOR, "x": Raw(b"X\x01\0\0\0aQ")}, "names an object that lies elsewhere"),
    ],
)
def test_what_is_refused_is_named_with_its_place(value: Any, named: str, at: int, tmp_path: Path) -> None:
    content = both(value)[at]
    line = refused(content, tmp_path, Denied)
    assert named in line
    offset = int(line.rpartition("at byte ")[2])
    pickle = pickle_of(value)
    start = content.find(pickle) if at else 0
    assert 0 < offset - start < len(pickle)
    if "posix" in named:
        assert pickle[offset - start :].startswith(b"cposix\nsystem\n")


@pytest.mark.parametrize("at", [0, 1], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    "change",
    [
        {"shape": (7,)},
        {"shape": (2, 3), "offset": 1},
        {"shape": (2, 3), "strides": (4, 1)},
        {"shape": (2, 3), "strides": (-3, 1)},
        {"shape": (-2, 3)},
        {"shape": (2, 3), "strides": (1,)},
        {"shape": (2, 3), "offset": -1},
        {"shape": (2, 3), "offset": 1 << 64},
        {"shape": (1 << 62, 1 << 62), "strides": (0, 0)},
        {"shape": (2,), "strides": (1 << 63,)},
        {"shape": ("2", 3)},
        {"shape": (2.0, 3)},
        {"shape": (1,) * 70},
        {"shape": (2, 3), "function": "_rebuild_sparse_tensor"},
        {"shape": (2, 3), "function": "_rebuild_tensor_v3", "dtype": "float64"},
        {"shape": (2, 3), "function": "_rebuild_tensor_v3", "dtype": "int3"},
    ],
)
def test_tensors_that_lie_about_themselves(change: dict[str, Any], at: int, tmp_path: Path) -> None:
    refused(both({"w": replace(TENSOR, **change)})[at], tmp_path, ModelcarError)


@pytest.mark.parametrize("at", [0, 1], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (Ordered((("w", TENSOR), ("w", TENSOR))), "tensor 'w' twice"),
        (Ordered((("state_dict", {"w": TENSOR}), ("state_dict", {"v": TENSOR}))), "'state_dict' twice"),
        ({1: TENSOR}, "no text: int"),
        ({("a", "b"): TENSOR}, "no text: tuple"),
        ({None: TENSOR}, "no text: None"),
        ({"__metadata__": TENSOR}, "'__metadata__'"),
        ({"\ud800": TENSOR}, "no valid text"),
        ({"x": 1, "y": {"z": 2}}, "no dict of tensors, but 'x', 'y'"),
        ({}, "no dict of tensors, but nothing"),
        (3, "no dict of tensors, but this: int"),
        (Ordered((("w", TENSOR),), from_pairs=True).items, "no dict of tensors, but this: tuple"),
    ],
)
def test_dicts_that_are_none_of_tensors(value: Any, problem: str, at: int, tmp_path: Path) -> None:
    content = (
        zipped(value, {"0": NUMBERS})
        if at == 0
        else legacy(value, {"0": (6, NUMBERS)} if "Tensor(" in repr(value) else {})
    )
    assert problem in refused(content, tmp_path)


def test_a_dict_inside_itself(tmp_path: Path) -> None:
    refused(zipped(Raw(b"}q\x00X\x05\0\0\0modelh\x00s"), {}), tmp_path)


def test_dicts_nested_without_end(tmp_path: Path) -> None:
    value: Any = {"w": TENSOR}
    for _ in range(200):
        value = {"model": value}
    assert "deep" in refused(zipped(value, {"0": NUMBERS}), tmp_path)


@pytest.mark.slow
def test_tuples_nested_without_end(tmp_path: Path) -> None:
    refused(zipped(Raw(b")" + b"\x85" * 200_000), {}), tmp_path, ModelcarError)


def test_the_same_values_over_and_over(tmp_path: Path) -> None:
    """Each list holds the one before it many times."""
    bomb = b"]q\x00" + b"".join(
        b"](" + b"h" + bytes([i]) * 1 + (b"h" + bytes([i])) * 60 + b"eq" + bytes([i + 1]) for i in range(12)
    )
    refused(zipped(Raw(bomb), {}), tmp_path, Denied)


def test_views_of_a_few_numbers_that_would_fill_the_disk(tmp_path: Path) -> None:
    tensor = replace(TENSOR, shape=(1 << 20, 1 << 20), strides=(0, 0))
    assert "views of the same few numbers" in refused(zipped({"w": tensor}, {"0": NUMBERS}), tmp_path)


def test_a_storage_of_two_sizes(tmp_path: Path) -> None:
    other = replace(STORAGE, elements=3)
    value = {"w": TENSOR, "v": Tensor(storage=other, shape=(3,))}
    refused(zipped(value, {"0": NUMBERS}), tmp_path)


def test_a_storage_of_an_unknown_class(tmp_path: Path) -> None:
    refused(zipped({"w": replace(TENSOR, storage=replace(STORAGE, kind="Evil"))}, {"0": NUMBERS}), tmp_path, Denied)


# Zips


def test_a_compressed_storage_is_refused(tmp_path: Path) -> None:
    assert "'archive/data/0' compressed" in refused(make_zip(members(method=DEFLATED)), tmp_path)


def test_a_compressed_pickle_is_read_as_far_as_it_may_reach(tmp_path: Path) -> None:
    good = members()
    (tmp_path / "pytorch_model.bin").write_bytes(make_zip([replace(good[0], method=DEFLATED), good[1]]))
    assert convert(tmp_path / "pytorch_model.bin", tmp_path / "out").tensors == 1


@pytest.mark.slow
def test_a_decompression_bomb(tmp_path: Path) -> None:
    refused(make_zip([zeros(b"archive/data.pkl", 300)]), tmp_path)


def test_storages_that_share_bytes(tmp_path: Path) -> None:
    pickle, storage = members()
    other = Member(name=b"archive/data/1", data=NUMBERS, header=False)
    refused(make_zip([pickle, storage, other]), tmp_path)


def test_two_members_of_one_name(tmp_path: Path) -> None:
    pickle, storage = members()
    refused(make_zip([pickle, storage, storage]), tmp_path)


def test_two_pickles(tmp_path: Path) -> None:
    other = Member(name=b"other/data.pkl", data=pickle_of({"w": TENSOR}))
    assert "2 members called data.pkl" in refused(make_zip([*members(), other]), tmp_path)


def test_a_program_of_torchscript(tmp_path: Path) -> None:
    code = Member(name=b"archive/code/__torch__.py", data=b"x = 1\n")
    assert "TorchScript" in refused(make_zip([*members(), code]), tmp_path)


def test_a_missing_storage(tmp_path: Path) -> None:
    assert "has no 'archive/data/0'" in refused(make_zip(members()[:1]), tmp_path)


def test_a_missing_storage_with_an_odd_name(tmp_path: Path) -> None:
    tensor = replace(TENSOR, storage=replace(STORAGE, key="\x13\n"))
    refused(zipped({"w": tensor}, {"0": NUMBERS}), tmp_path)


def test_a_short_storage(tmp_path: Path) -> None:
    assert "20 bytes in 'archive/data/0'" in refused(make_zip(members(data=NUMBERS[:20])), tmp_path)


def test_the_directory_and_the_header_disagree(tmp_path: Path) -> None:
    refused(make_zip(members(local={"name": b"archive/data/9"})), tmp_path)


def test_a_storage_beyond_the_end(tmp_path: Path) -> None:
    large = Storage(key="0", data=NUMBERS, elements=1 << 28)
    lie = {"size": 4 << 28, "compressed": 4 << 28}
    content = make_zip(members(Tensor(storage=large, shape=(1 << 28,)), central=lie, local=lie))
    refused(content, tmp_path)


def test_damaged_numbers(tmp_path: Path) -> None:
    content = make_zip(members(raw=NUMBERS[:-1] + b"\x01"))
    assert "numbers of tensor 'w' are damaged" in refused(content, tmp_path)


def test_a_damaged_pickle(tmp_path: Path) -> None:
    pickle, storage = members()
    damaged = replace(pickle, central={"crc": zlib.crc32(b"") + 1}, local={"crc": zlib.crc32(b"") + 1})
    refused(make_zip([damaged, storage]), tmp_path)


@pytest.mark.parametrize("order", [b"big", b"middle", b""])
def test_another_byte_order(order: bytes, tmp_path: Path) -> None:
    line = refused(zipped({"w": TENSOR}, {"0": NUMBERS}, byteorder=order), tmp_path)
    assert ("big-endian" if order == b"big" else "byte order") in line


def test_a_big_endian_machine_before_zips(tmp_path: Path) -> None:
    content = legacy({"w": TENSOR}, {"0": (6, NUMBERS)}, little_endian=False)
    assert "big-endian" in refused(content, tmp_path)


# What is cut off


@pytest.mark.slow
@pytest.mark.parametrize("at", [0, 1], ids=["zip", "legacy"])
def test_a_file_that_is_cut_off_anywhere(at: int, tmp_path: Path) -> None:
    content = both({"w": TENSOR})[at]
    for length in range(len(content)):
        refused(content[:length], tmp_path, ModelcarError)


def test_bytes_behind_the_last_storage(tmp_path: Path) -> None:
    assert "belong to nothing" in refused(both({"w": TENSOR})[1] + b"\0", tmp_path)


def test_a_storage_that_nobody_uses(tmp_path: Path) -> None:
    content = legacy({"w": TENSOR}, {"0": (6, NUMBERS), "1": (6, NUMBERS)})
    refused(content, tmp_path)


def test_an_ordinary_pickle(tmp_path: Path) -> None:
    assert "torch.save did not write" in refused(pickle_of({"w": 1}), tmp_path)


def test_an_empty_file(tmp_path: Path) -> None:
    refused(b"", tmp_path)


# Options


def test_a_key_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(zipped({"gen": {"w": TENSOR}, "dis": {"w": TENSOR}}, {"0": NUMBERS}))
    with pytest.raises(UsageError, match=r"several dicts of tensors: 'gen', 'dis'") as caught:
        convert(tmp_path / "x.pt", tmp_path / "out")
    assert "--key" in str(caught.value.hint)
    with pytest.raises(UsageError, match=r"no dict under the key 'gan'"):
        convert(tmp_path / "x.pt", tmp_path / "out", key="gan")
    done = convert(tmp_path / "x.pt", tmp_path / "out", key="dis")
    assert [(each.key, each.why) for each in done.left_out] == [("gen", "dict")]


def test_a_link_that_leaves_the_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "secret.bin").write_bytes(zipped({"w": TENSOR}, {"0": NUMBERS}))
    (tmp_path / "model" / "pytorch_model.bin").symlink_to("../secret.bin")
    with pytest.raises(SourceError):
        convert(tmp_path / "model", tmp_path / "out")
    assert not (tmp_path / "out").exists()
