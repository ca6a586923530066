"""Whole folders: what is converted, what is taken along, what is left out, and when it becomes visible."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from modelcar.checkpoint import HubOptions, open_checkpoint
from modelcar.conversion import convert
from modelcar.conversion.write import ShardWriter
from modelcar.disk import Disk
from modelcar.errors import MalformedFile, NoSpace, SourceError, StorageError, UnsafePath, UsageError
from tests.support.checkpoints import make_checkpoint
from tests.support.hub import FakeHub, Repo
from tests.support.safetensors_reader import metadata_of, tensors_of, written
from tests.support.torch_writer import Storage, Tensor, zipped
from tests.support.weights import safetensors_bytes

CONFIG = '{"model_type": "tiny"}'


def numbers(name: str, size: int = 64) -> bytes:
    return hashlib.shake_128(name.encode()).digest(size)


def torch_file(*names: str, size: int = 64) -> bytes:
    """A checkpoint of byte tensors called `names`, `size` each."""
    storages = {name: Storage(key=str(i), data=numbers(name, size), kind="ByteStorage") for i, name in enumerate(names)}
    tensors = {name: Tensor(storage=storage, shape=(size,)) for name, storage in storages.items()}
    return zipped(tensors, {storage.key: storage.data for storage in storages.values()})


def write(folder: Path, files: dict[str, bytes | str]) -> Path:
    for path, content in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def paths(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write(tmp_path / "model", {"pytorch_model.bin": torch_file("a", "b"), "config.json": CONFIG})


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """Four tensors in two pickled shards with an index."""
    files = {f"pytorch_model-{i:05}-of-00002.bin": names for i, names in enumerate((("d", "a"), ("c", "b")), 1)}
    index = {
        "metadata": {"total_size": 256},
        "weight_map": {name: file for file, all_ in files.items() for name in all_},
    }
    contents: dict[str, bytes | str] = {file: torch_file(*names) for file, names in files.items()}
    return write(tmp_path / "sharded", {**contents, "pytorch_model.bin.index.json": json.dumps(index)})


def index_of(folder: Path, name: str = "model.safetensors.index.json") -> dict[str, Any]:
    index: dict[str, Any] = json.loads((folder / name).read_text())
    return index


def test_what_is_no_weight_is_taken_along(model: Path, tmp_path: Path) -> None:
    write(model, {"tokenizer.json": "{}", "1_Pooling/config.json": "{}", "README.md": "# Tiny\n"})
    done = convert(model, tmp_path / "out")
    assert paths(tmp_path / "out") == [
        "1_Pooling/config.json",
        "README.md",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    assert (tmp_path / "out" / "config.json").read_text() == CONFIG
    assert done.copied == ("1_Pooling/config.json", "README.md", "config.json", "tokenizer.json")
    assert tensors_of(tmp_path / "out" / "model.safetensors") == {
        name: ("U8", (64,), numbers(name)) for name in ("a", "b")
    }
    assert metadata_of(tmp_path / "out" / "model.safetensors") == {"format": "pt"}
    assert open_checkpoint(tmp_path / "out").headers().keys() == {"model.safetensors"}


def test_other_pickles_are_left_out(model: Path, tmp_path: Path) -> None:
    write(model, {"optimizer.pt": torch_file("x"), "training_args.bin": b"\x80\x02cposix\nsystem\nU\x02idR."})
    done = convert(model, tmp_path / "out")
    assert paths(tmp_path / "out") == ["config.json", "model.safetensors"]
    assert [each.path for each in done.left_out] == ["optimizer.pt", "training_args.bin"]


def test_pickles_beside_the_same_weights_as_safetensors_are_left_out(model: Path, tmp_path: Path) -> None:
    other = safetensors_bytes({"w": ("U8", (3,), b"abc")}, {"format": "pt"})
    write(model, {"model.safetensors": other})
    done = convert(model, tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == other
    assert paths(tmp_path / "out") == ["config.json", "model.safetensors"]
    assert [(each.path, each.why) for each in done.left_out] == [("pytorch_model.bin", "model.safetensors is there")]


def test_names_of_files(tmp_path: Path) -> None:
    weights = {
        "unet/diffusion_pytorch_model.bin": "unet/diffusion_pytorch_model.safetensors",
        "unet/diffusion_pytorch_model.fp16.bin": "unet/diffusion_pytorch_model.fp16.safetensors",
        "text_encoder/pytorch_model.bin": "text_encoder/model.safetensors",
        "text_encoder/pytorch_model.fp16.bin": "text_encoder/model.fp16.safetensors",
        "adapter_model.bin": "adapter_model.safetensors",
        "consolidated.00.pth": "consolidated.00.safetensors",
        "vae.pt": "vae.safetensors",
    }
    write(tmp_path / "model", {path: torch_file(path) for path in weights})
    done = convert(tmp_path / "model", tmp_path / "out")
    assert paths(tmp_path / "out") == sorted(weights.values())
    assert {file.path: file.sources for file in done.files} == {new: (old,) for old, new in weights.items()}
    for old, new in weights.items():
        assert tensors_of(tmp_path / "out" / new) == {old: ("U8", (64,), numbers(old))}


def test_two_files_for_one_name(model: Path, tmp_path: Path) -> None:
    write(model, {"model.pt": torch_file("c")})
    with pytest.raises(SourceError, match=r"two files would become 'model.safetensors'"):
        convert(model, tmp_path / "out")


@pytest.mark.slow
def test_a_repository_on_the_hub(tmp_path: Path) -> None:
    files = {"pytorch_model.bin": torch_file("a", "b"), "config.json": CONFIG.encode()}
    with FakeHub() as hub:
        hub.repos["org/name"] = Repo(dict(files))
        options = HubOptions(endpoint=hub.endpoint, cache=tmp_path / "cache")
        done = convert(open_checkpoint("hf://org/name", hub=options, lazy=True), tmp_path / "out")
    assert done.copied == ("config.json",)
    assert written(tmp_path / "out") == {name: ("U8", (64,), numbers(name)) for name in "ab"}


# Shards


def test_pickled_shards_become_one_file_if_that_is_small_enough(sharded: Path, tmp_path: Path) -> None:
    done = convert(sharded, tmp_path / "out")
    assert paths(tmp_path / "out") == ["model.safetensors"]
    assert done.tensors == 4
    assert written(tmp_path / "out") == {name: ("U8", (64,), numbers(name)) for name in "abcd"}


def test_shards_by_size_in_the_order_of_the_checkpoint(sharded: Path, tmp_path: Path) -> None:
    done = convert(sharded, tmp_path / "out", max_shard_size=190)
    names = [f"model-{i:05}-of-00002.safetensors" for i in (1, 2)]
    assert [file.path for file in done.files] == names
    assert paths(tmp_path / "out") == [*names, "model.safetensors.index.json"]
    assert index_of(tmp_path / "out") == {
        "metadata": {"total_size": 256},
        "weight_map": {"a": names[0], "b": names[1], "c": names[1], "d": names[0]},
    }
    assert [sorted(tensors_of(tmp_path / "out" / name)) for name in names] == [["a", "d"], ["b", "c"]]
    assert len(open_checkpoint(tmp_path / "out").headers()) == 2  # which compares index and shards


def test_variants_have_an_index_of_their_own(tmp_path: Path) -> None:
    write(tmp_path / "model", {"pytorch_model.fp16.bin": torch_file("a", "b"), "x.bin": torch_file("c", "d")})
    convert(tmp_path / "model", tmp_path / "out", max_shard_size="64B")
    assert paths(tmp_path / "out") == [
        "model.fp16-00001-of-00002.safetensors",
        "model.fp16-00002-of-00002.safetensors",
        "model.safetensors.index.fp16.json",
        "x-00001-of-00002.safetensors",
        "x-00002-of-00002.safetensors",
        "x.safetensors.index.json",
    ]


def test_adapters_stay_in_one_file(tmp_path: Path) -> None:
    write(tmp_path / "lora", {"adapter_model.bin": torch_file("a", "b"), "adapter_config.json": "{}"})
    convert(tmp_path / "lora", tmp_path / "out", max_shard_size=64)
    assert paths(tmp_path / "out") == ["adapter_config.json", "adapter_model.safetensors"]


def test_safetensors_are_divided_anew(tmp_path: Path) -> None:
    source = make_checkpoint(tmp_path / "model", shards=3, elements=100)
    done = convert(source, tmp_path / "out", max_shard_size=400)
    assert [file.tensors for file in done.files] == [2, 1]
    assert written(tmp_path / "out") == written(source)
    assert index_of(tmp_path / "out")["metadata"] == {"total_size": 600}
    again = convert(tmp_path / "out", tmp_path / "again", max_shard_size="1kB")
    assert [file.path for file in again.files] == ["model.safetensors"]
    assert not (tmp_path / "again" / "model.safetensors.index.json").exists()
    assert written(tmp_path / "again") == written(source)
    assert (tmp_path / "again" / "config.json").read_bytes() == (source / "config.json").read_bytes()


def test_metadata_of_safetensors_is_kept(tmp_path: Path) -> None:
    tensors: dict[str, tuple[str, tuple[int, ...], bytes]] = {name: ("U8", (4,), numbers(name, 4)) for name in "ab"}
    write(tmp_path / "model", {"model.safetensors": safetensors_bytes(tensors, {"format": "pt", "by": "us"})})
    convert(tmp_path / "model", tmp_path / "out", max_shard_size=4)
    for file in (tmp_path / "out").glob("*.safetensors"):
        assert metadata_of(file) == {"format": "pt", "by": "us"}


@pytest.mark.parametrize(("limit", "words"), [(None, "no weights are pickled$"), ("5GB", "divided like this already$")])
def test_nothing_to_do(limit: str | None, words: str, tmp_path: Path) -> None:
    source = write(tmp_path / "model", {"model.safetensors": safetensors_bytes({"a": ("U8", (1,), b"a")})})
    with pytest.raises(SourceError, match=words):
        convert(source, tmp_path / "out", max_shard_size=limit)
    assert not (tmp_path / "out").exists()


def test_a_missing_shard(sharded: Path, tmp_path: Path) -> None:
    (sharded / "pytorch_model-00002-of-00002.bin").unlink()
    with pytest.raises(MalformedFile, match=r"pytorch_model-00002-of-00002.bin"):
        convert(sharded, tmp_path / "out")
    (sharded / "pytorch_model.bin.index.json").unlink()
    with pytest.raises(MalformedFile, match=r"one of 2 shards, and 'pytorch_model-00002-of-00002.bin' is missing"):
        convert(sharded, tmp_path / "out")


def test_one_shard_of_several(sharded: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"one of 2 shards"):
        convert(sharded / "pytorch_model-00001-of-00002.bin", tmp_path / "out")


def test_an_index_that_disagrees_with_its_shards(sharded: Path, tmp_path: Path) -> None:
    place = sharded / "pytorch_model.bin.index.json"
    index = json.loads(place.read_text())
    index["weight_map"]["a"] = "pytorch_model-00002-of-00002.bin"
    place.write_text(json.dumps(index))
    with pytest.raises(MalformedFile, match=r"00002-of-00002.bin: does not hold tensor 'a', as the index says"):
        convert(sharded, tmp_path / "out")


def test_an_index_that_leads_elsewhere(sharded: Path, tmp_path: Path) -> None:
    write(sharded, {"pytorch_model.bin.index.json": json.dumps({"weight_map": {"a": "../secret.bin"}})})
    with pytest.raises(UnsafePath):
        convert(sharded, tmp_path / "out")


def test_a_tensor_in_two_shards(sharded: Path, tmp_path: Path) -> None:
    write(sharded, {"pytorch_model-00002-of-00002.bin": torch_file("c", "b", "a")})
    with pytest.raises(MalformedFile, match=r"00002-of-00002.bin: holds tensor 'a', as pytorch_model-00001"):
        convert(sharded, tmp_path / "out")


# Nothing half-written


def test_a_folder_with_something_in_it(model: Path, tmp_path: Path) -> None:
    write(tmp_path / "out", {"mine": "x"})
    with pytest.raises(UsageError, match="is not empty"):
        convert(model, tmp_path / "out")
    assert paths(tmp_path / "out") == ["mine"]


def test_the_folder_itself(model: Path) -> None:
    with pytest.raises(UsageError, match="is not empty"):
        convert(model, model)
    assert paths(model) == ["config.json", "pytorch_model.bin"]


def test_a_failure_in_the_middle_leaves_what_is_finished_for_the_next_call(
    sharded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = written_shards(monkeypatch, fail="model-00003-of-00004.safetensors")
    with pytest.raises(StorageError, match="disk is broken"):
        convert(sharded, tmp_path / "out", max_shard_size=64, workers=1)
    assert not (tmp_path / "out").exists()
    shards.fail = ""
    shards.paths.clear()
    convert(sharded, tmp_path / "out", max_shard_size=64, workers=1)
    assert shards.paths == ["model-00003-of-00004.safetensors", "model-00004-of-00004.safetensors"]
    assert written(tmp_path / "out") == {name: ("U8", (64,), numbers(name)) for name in "abcd"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "sharded"]


def test_what_was_written_of_another_state_of_the_source_is_not_used(
    sharded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = written_shards(monkeypatch, fail="model-00003-of-00004.safetensors")
    with pytest.raises(StorageError):
        convert(sharded, tmp_path / "out", max_shard_size=64, workers=1)
    shards.fail = ""
    shards.paths.clear()
    write(sharded, {"pytorch_model-00001-of-00002.bin": torch_file("d", "a")})
    convert(sharded, tmp_path / "out", max_shard_size=64, workers=1)
    assert len(shards.paths) == 4


class _Shards:
    def __init__(self, fail: str) -> None:
        self.fail = fail
        self.paths: list[str] = []


def written_shards(monkeypatch: pytest.MonkeyPatch, *, fail: str) -> _Shards:
    """Which shards are written from now on; the one called `fail` cannot be."""
    shards = _Shards(fail)
    real = ShardWriter.write_shard

    def write_shard(self: ShardWriter, shard: Any) -> None:
        if shard.path == shards.fail:
            raise StorageError("the disk is broken")
        shards.paths.append(shard.path)
        real(self, shard)

    monkeypatch.setattr(ShardWriter, "write_shard", write_shard)
    return shards


def test_a_disk_without_room(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Disk, "of", lambda _: Disk(total=1000, free=100))
    with pytest.raises(NoSpace, match=r"the weights take .* and .* has 100 B left"):
        convert(model, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [model]


# Memory


@pytest.mark.slow
def test_memory_stays_flat(tmp_path: Path) -> None:
    import tracemalloc

    side = 2048
    plain = Storage(key="0", data=numbers("x", 4 * side * side))
    tensors = {
        "plain": Tensor(storage=plain, shape=(side, side)),
        "transposed": Tensor(storage=plain, shape=(side, side), strides=(1, side)),
    }
    write(tmp_path / "model", {"pytorch_model.bin": zipped(tensors, {"0": plain.data})})
    tracemalloc.start()
    try:
        convert(tmp_path / "model", tmp_path / "out")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 12 << 20  # of 32 MiB that were written
    found = tensors_of(tmp_path / "out" / "model.safetensors")
    assert found["plain"][2] == plain.data
    columns = [memoryview(plain.data).cast("I")[i::side].tobytes() for i in range(side)]
    assert found["transposed"][2] == b"".join(columns)
