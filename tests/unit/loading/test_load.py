"""`modelcar.load` and `modelcar.stream` from folders and files: which files, which tensors, what is refused."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelcar
from modelcar.errors import InvalidReference, MalformedFile, NotFound, SourceChanged, StorageError, UsageError
from modelcar.loading import memory
from modelcar.loading.files import DiskFile
from modelcar.loading.load import load, stream
from modelcar.loading.parts import Part
from tests.support.checkpoints import make_checkpoint
from tests.support.weights import raw_safetensors, safetensors_bytes, simple_safetensors

Tensors = dict[str, tuple[str, tuple[int, ...], bytes]]
FOUR: Tensors = {name: ("U8", (2,), name.encode() * 2) for name in "abcd"}


def write(path: Path, tensors: Mapping[str, tuple[str, tuple[int, ...], bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(safetensors_bytes(dict(tensors)))
    return path


def some(*names: str) -> Tensors:
    return {name: FOUR[name] for name in names}


def write_index(folder: Path, weight_map: Mapping[str, str], name: str = "model.safetensors.index.json") -> None:
    (folder / name).write_text(json.dumps({"weight_map": dict(weight_map)}))


def raw(source: Path | str, **options: Any) -> dict[str, bytes]:
    return {name: bytes(tensor.data) for name, tensor in load(source, framework="raw", **options).items()}


def test_a_sharded_checkpoint_is_loaded_in_the_order_of_its_files(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "model", shards=3, elements=100)
    tensors = load(folder, framework="raw")
    assert list(tensors) == [f"model.layers.{i}.weight" for i in (1, 2, 3)]
    for i, tensor in enumerate(tensors.values(), 1):
        assert (tensor.dtype, tensor.shape) == ("BF16", (100,))
        assert (folder / f"model-{i:05}-of-00003.safetensors").read_bytes().endswith(tensor.data)


def test_numpy_gets_its_own_dtypes_and_says_what_bits_are(tmp_path: Path) -> None:
    values = np.array([[1.5, -2], [0, 4]], np.float32)
    file = write(
        tmp_path / "m.safetensors",
        {
            "f": ("F32", (2, 2), values.tobytes()),
            "b": ("BF16", (2,), values.view(np.uint16)[0, 1::2].tobytes()),
            "q": ("F8_E4M3", (1, 3), b"xyz"),
            "p": ("F4", (2, 2), b"pq"),
            "t": ("BOOL", (), b"\1"),
            "e": ("F16", (0, 3), b""),
        },
    )
    loaded = load(file, framework="numpy")
    assert loaded["f"].dtype == np.float32
    assert np.array_equal(loaded["f"], values)
    assert loaded["b"].dtype == np.uint16
    assert loaded["b"].dtype.metadata == {"safetensors": "BF16"}
    assert np.array_equal((loaded["b"].astype(np.uint32) << 16).view(np.float32), values[0])
    assert (loaded["q"].shape, loaded["q"].tobytes()) == ((1, 3), b"xyz")
    assert (loaded["p"].shape, loaded["p"].dtype.metadata) == ((2,), {"safetensors": "F4"})
    assert loaded["t"].shape == ()
    assert loaded["t"].item() is True
    assert loaded["e"].shape == (0, 3)
    loaded["f"][0, 0] = 7  # it is the program's own memory


def test_large_tensors_begin_at_a_page_however_they_lie_in_the_file(tmp_path: Path) -> None:
    content = os.urandom(memory._MAPPED + 8)
    file = write(
        tmp_path / "m.safetensors", {"odd": ("U8", (3,), b"abc"), "wide": ("F64", (len(content) // 8,), content)}
    )
    wide = load(file, framework="numpy")["wide"]
    assert wide.ctypes.data % 4096 == 0
    assert wide.tobytes() == content


@pytest.mark.parametrize("dim", [0, 1])
def test_a_rank_gets_its_part_and_what_it_has_nothing_of_is_not_there(tmp_path: Path, dim: int) -> None:
    whole = np.arange(12, dtype=np.int64).reshape(3, 4)
    file = write(tmp_path / "m.safetensors", {"w": ("I64", (3, 4), whole.tobytes()), "other": ("U8", (1,), b"x")})
    part = Part(dim=dim, ranges=((0, 1), (2, 3)))
    loaded = load(file, framework="numpy", rank=lambda name, *_: part if name == "w" else None)
    assert list(loaded) == ["w"]
    assert np.array_equal(loaded["w"], whole.take([0, 2], axis=dim))


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (Part(dim=1, ranges=((0, 1),)), "a has the shape [2], and so no dimension 1"),
        (Part(ranges=((0, 3),)), "a: 0 to 3 is no part of the 2 elements along dimension 0"),
        (Part(ranges=((1, 2), (0, 1))), "a: 0 to 1 is no part of the 2 elements along dimension 0, or not after"),
    ],
)
def test_a_part_that_a_tensor_has_not_is_refused(tmp_path: Path, part: Part, said: str) -> None:
    file = write(tmp_path / "m.safetensors", some("a"))
    with pytest.raises(UsageError, match=r"^a") as caught:
        load(file, rank=lambda *_: part)
    assert str(caught.value).startswith(said)


class TestChoosing:
    def test_one_file_is_the_model_whatever_lies_beside_it(self, tmp_path: Path) -> None:
        write(tmp_path / "model.safetensors", some("a"))
        write(tmp_path / "consolidated.safetensors", some("a", "b"))
        assert list(raw(tmp_path)) == ["a"]

    def test_an_index_says_which_files(self, tmp_path: Path) -> None:
        write(tmp_path / "x.safetensors", some("a"))
        write(tmp_path / "y.safetensors", some("b"))
        write(tmp_path / "z.safetensors", some("a", "b"))
        write_index(tmp_path, {"a": "x.safetensors", "b": "y.safetensors"})
        write_index(tmp_path, {"a": "z.safetensors", "b": "z.safetensors"}, "model.safetensors.index.fp16.json")
        assert list(raw(tmp_path)) == ["a", "b"]

    def test_an_index_that_disagrees_with_its_shards(self, tmp_path: Path) -> None:
        write(tmp_path / "x.safetensors", some("a"))
        write_index(tmp_path, {"a": "x.safetensors", "b": "x.safetensors"})
        with pytest.raises(MalformedFile, match=r"places tensor 'b' in 'x.safetensors', but no file has it"):
            load(tmp_path)

    def test_an_index_whose_shard_is_missing(self, tmp_path: Path) -> None:
        write_index(tmp_path, {"a": "x.safetensors"})
        with pytest.raises(MalformedFile, match=r"names the shard 'x.safetensors', which is not there"):
            load(tmp_path)

    def test_two_models_in_one_folder(self, tmp_path: Path) -> None:
        for name in "xy":
            write_index(tmp_path, {"a": f"{name}.safetensors"}, f"{name}.safetensors.index.json")
        with pytest.raises(UsageError, match=r"holds several models: x.safetensors.index.json, y.safetensors"):
            load(tmp_path)

    def test_a_missing_shard_without_an_index(self, tmp_path: Path) -> None:
        write(tmp_path / "m-00001-of-00002.safetensors", some("a"))
        with pytest.raises(MalformedFile, match=r"'m-00002-of-00002.safetensors' is missing"):
            load(tmp_path)

    def test_two_files_with_one_tensor(self, tmp_path: Path) -> None:
        write(tmp_path / "x.safetensors", some("a"))
        write(tmp_path / "y.safetensors", some("b", "a"))
        with pytest.raises(MalformedFile, match=r"^y.safetensors: tensor 'a' is in x.safetensors, too$"):
            load(tmp_path)

    def test_two_shards_with_one_tensor(self, tmp_path: Path) -> None:
        write(tmp_path / "x.safetensors", some("a", "b"))
        write(tmp_path / "y.safetensors", some("b", "c"))
        write_index(tmp_path, {"a": "x.safetensors", "b": "x.safetensors", "c": "y.safetensors"})
        with pytest.raises(MalformedFile, match=r"^y.safetensors: tensor 'b' is in x.safetensors, too$"):
            load(tmp_path)

    def test_a_folder_of_components(self, tmp_path: Path) -> None:
        write(tmp_path / "unet" / "diffusion.safetensors", some("a"))
        with pytest.raises(NotFound, match=r"there are no safetensors files directly in"):
            load(tmp_path)
        assert list(raw(tmp_path, subfolder="unet")) == ["a"]

    def test_links_are_followed(self, tmp_path: Path) -> None:
        write(tmp_path / "blobs" / "0f3a", some("a"))
        (tmp_path / "snapshot").mkdir()
        (tmp_path / "snapshot" / "model.safetensors").symlink_to("../blobs/0f3a")
        assert list(raw(tmp_path / "snapshot")) == ["a"]


class TestRefusals:
    @pytest.mark.parametrize("source", ["/nowhere/at/all", "./nowhere"])
    def test_no_such_path(self, source: str) -> None:
        with pytest.raises(NotFound, match=f"^there is no {source}$"):
            load(source)

    def test_what_is_neither_a_path_nor_an_image(self) -> None:
        with pytest.raises(InvalidReference, match=r"^'My Model' is neither a file here nor an image: "):
            load("My Model")

    def test_another_format(self, tmp_path: Path) -> None:
        (tmp_path / "model.bin").write_bytes(b"x")
        with pytest.raises(UsageError, match=r"model.bin is no safetensors file"):
            load(tmp_path / "model.bin")

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"", "is 0 bytes long"),
            (simple_safetensors("a")[:-1], "is cut short: 1 bytes of tensor data are missing"),
            (simple_safetensors("a") + b"x", "has 1 bytes after its last tensor"),
            (struct.pack("<Q", 1 << 60), "claims a header of 1152921504606846976 bytes; the limit is"),
            (
                raw_safetensors(
                    b'{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},'
                    b'"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}',
                    b"abc",
                ),
                "tensor 'b' overlaps the one before it",
            ),
        ],
    )
    def test_a_file_that_lies_about_itself(self, tmp_path: Path, content: bytes, said: str) -> None:
        (tmp_path / "model.safetensors").write_bytes(content)
        with pytest.raises(MalformedFile) as caught:
            load(tmp_path)
        assert str(caught.value).startswith(f"model.safetensors: {said}") or said in str(caught.value)
        assert str(caught.value).isprintable()

    @pytest.mark.parametrize("options", [{"workers": 0}, {"framework": "tensorflow"}])
    def test_options_that_make_no_sense(self, tmp_path: Path, options: dict[str, Any]) -> None:
        write(tmp_path / "model.safetensors", some("a"))
        with pytest.raises(UsageError):
            load(tmp_path, **options)

    def test_numpy_has_no_tensors_on_a_device(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"numpy has no tensors on cuda"):
            load(tmp_path, device="cuda", framework="numpy")

    def test_a_framework_that_is_not_installed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("modelcar.loading.frameworks.find_spec", lambda _: None)
        file = write(tmp_path / "model.safetensors", some("a"))
        with pytest.raises(UsageError, match=r"^torch is not installed$"):
            load(file, framework="torch")
        assert load(file)["a"].dtype == "U8"  # raw is always there


def test_a_file_that_grows_shorter_while_it_is_read(tmp_path: Path) -> None:
    file = write(tmp_path / "m.safetensors", some("a", "b"))
    opened = DiskFile(file, "m.safetensors")
    os.truncate(file, file.stat().st_size - 2)
    with pytest.raises(SourceChanged, match=r"^m.safetensors changed while it was loaded: it had "):
        opened.read_into(0, iter([memoryview(bytearray(4))]), 4)


def test_what_the_disk_does_not_give_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "m.safetensors", some("a"))

    def broken(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "preadv", broken)
    with pytest.raises(StorageError, match=r"^cannot read m.safetensors: Input/output error$"):
        load(file)


def test_more_pieces_than_the_kernel_takes_at_once(tmp_path: Path) -> None:
    whole = np.arange(5000 * 3, dtype=np.uint16).reshape(5000, 3)
    file = write(tmp_path / "m.safetensors", {"w": ("U16", (5000, 3), whole.tobytes())})
    loaded = load(file, framework="numpy", rank=lambda *_: Part(dim=1, ranges=((1, 2),)))
    assert np.array_equal(loaded["w"], whole[:, 1:2])


def test_short_reads_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, views, offset: real(fd, [views[0][:3]], offset))
    assert raw(write(tmp_path / "m.safetensors", FOUR)) == {name: data for name, (_, _, data) in FOUR.items()}


class Events:
    """A `Progress` that keeps what it is told."""

    def __init__(self) -> None:
        self.expected = 0
        self.done: dict[str, int] = {}
        self.finished: list[str] = []

    def expect(self, total: int) -> None:
        self.expected += total

    def start(self, key: str, label: str, total: int) -> None:
        assert (key, label) == (key, key)
        self.done[key] = -total

    def advance(self, key: str, n: int) -> None:
        self.done[key] += n

    def finish(self, key: str, note: str = "") -> None:
        self.finished.append(key)


def test_progress_tells_of_every_byte(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "model", shards=3, elements=1000)
    events = Events()
    load(folder, framework="raw", progress=events)
    assert events.expected == 6000
    assert set(events.done.values()) == {0}
    assert sorted(events.finished) == sorted(events.done)
    assert len(events.finished) == 3


def test_a_program_may_stop_early(tmp_path: Path) -> None:
    file = write(tmp_path / "m.safetensors", FOUR)
    for name, _ in stream(file, framework="raw"):
        assert name == "a"
        break


def test_they_are_public() -> None:
    assert modelcar.load is load
    assert modelcar.stream is stream
