"""A folder for some ranks: whole tensors that they need, right to the byte; everything else is absent, never zeros."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from modelcar.checkpoint import open_checkpoint
from modelcar.checkpoint.formats.safetensors import read_safetensors
from modelcar.errors import InvalidContent, ProtocolViolation, SourceError, Unreachable, UsageError
from modelcar.images.described import describe_image
from modelcar.images.file_pull import SourceChunks
from modelcar.images.rank_pull import RANK_FILE, RankPull, pull_ranks
from modelcar.images.reader import ModelReader
from modelcar.layers.hashing import CHUNK_SIZE
from modelcar.lazy.download import Downloads
from modelcar.lazy.settings import FetchSettings
from modelcar.oci import Descriptor, Digest
from modelcar.packaging.base import DEFAULT_PLATFORMS, scratch_base
from modelcar.packaging.build import build_image
from modelcar.packaging.fetch import RangeStream, StoreSource
from modelcar.packaging.unpack import Readable
from modelcar.ranks import RankPlan, Topology, merge_plans, plan_rank
from modelcar.store import LocalStore, Store
from tests.support.architectures import Model, deepseek, llama, mixtral, write_checkpoint
from tests.support.checkpoints import files_of
from tests.support.lying_indexes import first_manifest, lie
from tests.support.weights import gguf_bytes
from tests.unit.packaging.conftest import Build

STAGES = Topology(pp=2)
BOOT = 64  # bytes of `have` before the first chunk's


def made(
    folder: Path, model: Model, store: LocalStore, build: Build, *, shards: int = 3
) -> tuple[dict[str, bytes], Descriptor]:
    content = write_checkpoint(folder, model, shards=shards)
    return content, first_manifest(store.content, build(folder).index)


def pull(
    store: Store, image: Descriptor, target: Path, *ranks: int, topology: Topology = STAGES, workers: int = 2
) -> RankPull:
    reader = ModelReader(StoreSource(store, image), image)
    model = describe_image(reader)
    plan = merge_plans([plan_rank(model.files, model.config, topology, rank) for rank in ranks])
    return fill(reader, plan, target, workers=workers)


ONCE = FetchSettings(attempts=1, backoff=0.01, backoff_limit=0.01)
ONE_STREAM = replace(ONCE, upstream_streams=1, blob_streams=1, urgent_streams=0, hedge_after=600, straggler_after=600)


def fill(
    reader: ModelReader, plan: RankPlan, target: Path, *, workers: int = 1, settings: FetchSettings = ONCE
) -> RankPull:
    """Of an image that is at hand, or fails as its source does, without a second attempt."""
    with Downloads(SourceChunks(reader.source, "test"), settings) as downloads:
        return pull_ranks(reader, lambda _: downloads, plan, target, name="test", workers=workers)


def _part(raw: bytes, offset: int, n: int) -> bytes:
    return raw[offset : offset + n]


def tensors_in(folder: Path) -> dict[str, bytes]:
    """Read by the format's own library."""
    found: dict[str, bytes] = {}
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="numpy") as file:
            names = list(file.keys())
        raw = path.read_bytes()
        tensors = read_safetensors(partial(_part, raw), len(raw), path.name).tensors
        assert {tensor.name for tensor in tensors} == set(names)
        found |= {t.name: raw[t.offset : t.offset + t.size] for t in tensors}
    return found


@pytest.mark.slow
@pytest.mark.parametrize("shards", [1, 3, 7])
@pytest.mark.parametrize(
    ("model", "topology", "missing"),
    [
        (llama(layers=4), STAGES, "model.layers.3."),
        (llama(layers=5, tied=True), Topology(pp=3, stages=(2, 2, 1)), "model.layers.2."),
        (mixtral(layers=2, experts=4), Topology(tp=2, ep=2), "experts.3."),
        (deepseek(layers=3), Topology(tp=2, pp=2, ep=4), "experts.7."),
    ],
    ids=["stages", "given stages", "experts", "both"],
)
def test_exactly_the_tensors_of_each_rank(
    tmp_path: Path, store: LocalStore, build: Build, model: Model, topology: Topology, missing: str, shards: int
) -> None:
    content, image = made(tmp_path / "model", model, store, build, shards=shards)
    seen: set[str] = set()
    for rank in range(topology.size):
        target = tmp_path / f"rank{rank}"
        pulled = pull(store.content, image, target, rank, topology=topology)
        plan = plan_rank(model.files(), model.config, topology, rank)
        there = tensors_in(target)
        assert there == {name: content[name] for name in plan.by_name()}
        index = json.loads((target / "model.safetensors.index.json").read_text())
        assert index["weight_map"].keys() == there.keys()
        assert {path.name for path in target.glob("*.safetensors")} == set(index["weight_map"].values())
        assert index["metadata"]["total_size"] == sum(map(len, there.values()))
        assert pulled.tensors_left_out == len(content) - len(there) > 0
        assert pulled.bytes_left_out == sum(map(len, content.values())) - sum(map(len, there.values()))
        assert (target / "tokenizer.json").read_bytes() == (tmp_path / "model" / "tokenizer.json").read_bytes()
        record = json.loads((target / RANK_FILE).read_text())
        assert (record["ranks"], record["leftOut"]["tensors"]) == ([rank], pulled.tensors_left_out)
        if rank == 0:
            assert not any(missing in name for name in there)
        seen |= there.keys()
    assert seen == content.keys()


def test_slices_alone_leave_nothing_out(tmp_path: Path, store: LocalStore, build: Build) -> None:
    """Every rank has something of every tensor: files are those of the model, to the byte."""
    _, image = made(tmp_path / "model", llama(), store, build)
    pulled = pull(store.content, image, tmp_path / "rank", 1, topology=Topology(tp=4))
    assert (pulled.tensors_left_out, pulled.bytes_left_out) == (0, 0)
    files = files_of(tmp_path / "rank")
    del files[RANK_FILE]
    assert files == files_of(tmp_path / "model")


def test_several_ranks_of_a_node(tmp_path: Path, store: LocalStore, build: Build) -> None:
    model = mixtral(layers=2, experts=4)
    content, image = made(tmp_path / "model", model, store, build)
    pull(store.content, image, tmp_path / "node", 2, 3, topology=Topology(tp=4, ep=4))
    experts = {name.split("experts.")[1][0] for name in tensors_in(tmp_path / "node") if "experts." in name}
    assert experts == {"2", "3"}
    assert len(content) > len(tensors_in(tmp_path / "node"))


class Faulty(StoreSource):
    """Fails after so many requests for layers or ranges of them."""

    def __init__(self, store: Store, root: Descriptor, good: int) -> None:
        super().__init__(store, root)
        self.left = good

    def _spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Unreachable("the line is cut")

    @contextmanager
    def open_layer(self, descriptor: Descriptor) -> Iterator[Readable]:
        self._spend()
        with super().open_layer(descriptor) as stream:
            yield stream

    @contextmanager
    def open_range(self, descriptor: Descriptor, offset: int, length: int) -> Iterator[RangeStream]:
        self._spend()
        with super().open_range(descriptor, offset, length) as stream:
            yield stream


def test_a_pull_goes_on_where_it_was_cut(tmp_path: Path, store: LocalStore, build: Build) -> None:
    model = llama(layers=4)
    content, image = made(tmp_path / "model", model, store, build, shards=6)
    target = tmp_path / "rank"
    plans = plan_rank(model.files(6), model.config, STAGES, 0)
    cuts = 0
    for good in range(2, 60):
        source = Faulty(store.content, image, good)
        try:
            reader = ModelReader(source, image)
            described = describe_image(reader)
            plan = plan_rank(described.files, described.config, STAGES, 0)
            fill(reader, plan, target)
        except Unreachable:
            cuts += 1
            assert not target.exists()
        else:
            break
    assert cuts > 1
    assert tensors_in(target) == {name: content[name] for name in plans.by_name()}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


class Metered(StoreSource):
    """Counts the bytes that are read of layers, and cuts the line after `good` of them."""

    def __init__(self, store: Store, root: Descriptor, good: float = math.inf) -> None:
        super().__init__(store, root)
        self.sent, self._good = 0, good

    @contextmanager
    def open_range(self, descriptor: Descriptor, offset: int, length: int) -> Iterator[RangeStream]:
        with super().open_range(descriptor, offset, length) as stream:
            yield _Meter(self, stream)

    def pass_on(self, data: bytes) -> bytes:
        self.sent += len(data)
        if self.sent > self._good:
            raise Unreachable("the line is cut")
        return data


class _Meter:
    def __init__(self, source: Metered, stream: RangeStream) -> None:
        self._source, self._stream = source, stream

    def read(self, n: int = -1, /) -> bytes:
        return self._source.pass_on(self._stream.read(n))

    def readinto(self, buffer: memoryview, /) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


@pytest.mark.slow
@pytest.mark.parametrize("topology", [STAGES, Topology(tp=2)], ids=["some of a layer", "all of it"])
def test_no_chunk_comes_twice(tmp_path: Path, store: LocalStore, build: Build, topology: Topology) -> None:
    model = llama(layers=4, size=16, inner=16 << 10)  # one shard of 50 MB, in chunks of 4 MiB
    content, image = made(tmp_path / "model", model, store, build, shards=1)
    target, sent = tmp_path / "rank", []
    for good in (14e6, 9e6, math.inf):
        source = Metered(store.content, image, good)
        reader = ModelReader(source, image)
        described = describe_image(reader)
        plan = plan_rank(described.files, described.config, topology, 0)
        try:
            fill(reader, plan, target, settings=ONE_STREAM)
        except Unreachable:
            parts = tmp_path.glob(".rank.modelcar-pull/parts/*/have")
            chunks = sum(have.read_bytes()[BOOT:].count(1) for have in parts)
            assert chunks >= 2
        sent.append(source.sent)
    assert tensors_in(target) == {name: content[name] for name in plan.by_name()}
    needed = (
        sum(len(content[name]) for name in plan.by_name()) if topology == STAGES else sum(map(len, content.values()))
    )
    assert sent[2] < needed - 3 * CHUNK_SIZE
    assert sum(sent) < needed + 6 * CHUNK_SIZE  # what was on its way at each cut, and chunks of which not all is needed


def test_another_rank_does_not_go_on_from_there(tmp_path: Path, store: LocalStore, build: Build) -> None:
    model = llama(layers=4)
    content, image = made(tmp_path / "model", model, store, build, shards=6)
    source = Faulty(store.content, image, 3)
    reader = ModelReader(source, image)
    described = describe_image(reader)
    with pytest.raises(Unreachable):
        fill(reader, plan_rank(described.files, described.config, STAGES, 0), tmp_path / "rank")
    pull(store.content, image, tmp_path / "rank", 1)
    plan = plan_rank(model.files(6), model.config, STAGES, 1)
    assert tensors_in(tmp_path / "rank") == {name: content[name] for name in plan.by_name()}


def test_gguf_files_come_whole_or_not_at_all(tmp_path: Path, store: LocalStore, build: Build) -> None:
    folder = tmp_path / "gguf"
    folder.mkdir()
    for shard, layers in ((1, (0, 1)), (2, (2,)), (3, (3,))):
        tensors: dict[str, tuple[int, tuple[int, ...], int]] = {
            f"blk.{n}.attn_q.weight": (0, (8, 8), 256) for n in layers
        }
        (folder / f"m-{shard:05}-of-00003.gguf").write_bytes(gguf_bytes({}, tensors))
    image = first_manifest(store.content, build(folder).index)
    pulled = pull(store.content, image, tmp_path / "rank", 0, topology=Topology(pp=2, stages=(1, 3)))
    assert files_of(tmp_path / "rank").keys() == {"m-00001-of-00003.gguf", RANK_FILE}
    assert (tmp_path / "rank" / "m-00001-of-00003.gguf").read_bytes() == (folder / "m-00001-of-00003.gguf").read_bytes()
    assert (pulled.tensors_left_out, pulled.bytes_left_out) == (2, 512)


def test_a_part_of_a_model_is_not_divided_again(tmp_path: Path, store: LocalStore, build: Build) -> None:
    _, image = made(tmp_path / "model", llama(), store, build)
    pull(store.content, image, tmp_path / "part", 0)
    pull(store.content, image, tmp_path / "all", 0, 1)
    for folder in ("part", "all"):
        with pytest.raises(SourceError, match="what some ranks need of a model"):
            build(tmp_path / folder)  # nobody takes it for the model
    found = open_checkpoint(tmp_path / "all", complete=False)
    other = build_image(found, store, [scratch_base(platform) for platform in DEFAULT_PLATFORMS])
    again = first_manifest(store.content, other.index)
    with pytest.raises(UsageError, match="part of another one"):
        pull(store.content, again, tmp_path / "parts", 0)
    with pytest.raises(UsageError, match="not empty"):
        pull(store.content, image, tmp_path / "part", 0)


# From here on: the image lies.


def swap_tensors(index: Any) -> None:
    """Two tensors of one shape change their names: whoever believes it computes nonsense."""
    tensors = index["layers"][0]["files"][0]["tensors"]
    gate, up = (next(t for t in tensors if name in t["name"]) for name in ("gate_proj", "up_proj"))
    gate["name"], up["name"] = up["name"], gate["name"]
    index["layers"][0]["files"][0].pop("header")


def hide_tensor(index: Any) -> None:
    file = index["layers"][0]["files"][0]
    file.pop("header")
    del file["tensors"][2]


def hide_file(index: Any) -> None:
    index["layers"][-1]["files"] = [f for f in index["layers"][-1]["files"] if f["path"] != "tokenizer.json"]


def rename_file(index: Any) -> None:
    next(f for f in index["layers"][-1]["files"] if f["path"] == "tokenizer.json")["path"] = "token.json"


def damage(blob: bytearray, number: int) -> None:
    if number == 0:
        blob[-3000] ^= 1


@pytest.mark.parametrize("topology", [Topology(tp=2), Topology(pp=4)], ids=["all of a layer", "some of it"])
@pytest.mark.parametrize(
    ("lies", "error"),
    [
        ({"index": swap_tensors}, InvalidContent),
        ({"index": hide_tensor}, InvalidContent),
        ({"index": hide_file}, InvalidContent),
        ({"index": rename_file}, InvalidContent),
        ({"blob": damage}, ProtocolViolation),
    ],
    ids=["swapped tensors", "hidden tensor", "hidden file", "renamed file", "damaged blob"],
)
def test_nothing_appears_of_an_image_that_lies(
    tmp_path: Path,
    store: LocalStore,
    build: Build,
    lies: dict[str, Callable[..., None]],
    error: type,
    topology: Topology,
) -> None:
    _, image = made(tmp_path / "model", llama(layers=4), store, build, shards=2)
    lying = lie(store.content, image, **lies)  # type: ignore[arg-type]  # settings by their names
    with pytest.raises(error):
        pull(lying.store, lying.root, tmp_path / "rank", 0, topology=topology)
    assert not (tmp_path / "rank").exists()
    if error is InvalidContent:  # another attempt would not help
        assert [path.name for path in tmp_path.iterdir() if "rank" in path.name] == []


def test_a_table_that_does_not_fit_its_blob(tmp_path: Path, store: LocalStore, build: Build) -> None:
    """The digest of the blob is right, the chunks are not. Of a part, the chunks decide; of all of it, the digest."""
    _, image = made(tmp_path / "model", llama(layers=4), store, build, shards=2)
    lying = lie(store.content, image, blob=damage, rehash=True)
    with pytest.raises(ProtocolViolation, match="are not what its index says"):
        pull(lying.store, lying.root, tmp_path / "part", 0, topology=Topology(pp=4))


def test_a_table_that_fits_a_blob_of_another_digest(tmp_path: Path, store: LocalStore, build: Build) -> None:
    """Index and bytes agree, manifest and bytes do not: found where all of the blob is read."""
    _, image = made(tmp_path / "model", llama(layers=4), store, build, shards=2)
    changed: list[bytes] = []

    def change(blob: bytearray, number: int) -> None:
        damage(blob, number)
        if number == 0:
            changed.append(bytes(blob))

    def fit(index: Any) -> None:
        for chunk in index["layers"][0]["chunks"]:
            start, stop = chunk["offset"], chunk["offset"] + chunk["size"]
            chunk["digest"] = str(Digest.of(changed[0][start:stop]))

    lying = lie(store.content, image, blob=change, index=fit)
    with pytest.raises(InvalidContent, match="though every chunk"):
        pull(lying.store, lying.root, tmp_path / "all", 0, topology=Topology(tp=2))
    assert not (tmp_path / "all").exists()
