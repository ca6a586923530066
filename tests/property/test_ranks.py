"""Rank plans of any model over any ranks: nothing is missing, nothing leaves a file, nothing is twice needlessly."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from modelcar.errors import UsageError
from modelcar.layers.index import IndexedFile
from modelcar.packaging.subset import subset
from modelcar.ranks import RankPlan, Topology, merge_plans, plan_rank
from modelcar.ranks.slices import merge_ranges
from tests.support.architectures import ARCHITECTURES, Model
from tests.support.examples import examples

_few = examples(120)
SIZES = st.sampled_from([1, 2, 3, 4, 8, 16])


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    tp, ep = draw(SIZES), draw(SIZES)
    assume(tp % ep == 0 or ep % tp == 0)
    return Topology(tp=tp, pp=draw(st.integers(1, 2)), ep=ep)


models: st.SearchStrategy[Model] = st.sampled_from([make() for make in ARCHITECTURES])


def all_plans(model: Model, topology: Topology, shards: int) -> list[RankPlan]:
    return [plan_rank(model.files(shards), model.config, topology, rank) for rank in range(topology.size)]


@_few
@given(models, topologies(), st.integers(1, 5))
def test_all_ranks_together_have_everything_and_nothing_outside(model: Model, topology: Topology, shards: int) -> None:
    plans = all_plans(model, topology, shards)
    union = merge_plans(plans)
    for file in union.files:
        assert file.ranges == ((0, file.file.size),), file.file.path
        assert len(file.parts) == len(file.file.tensors)
    for plan in plans:
        for file in plan.files:
            assert merge_ranges(file.ranges) == file.ranges
            assert all(0 <= start < stop <= file.file.size for start, stop in file.ranges)
            assert file.fetched <= file.file.size
            for part in file.parts:
                end = part.tensor.offset + part.tensor.size
                assert all(part.tensor.offset <= start < stop <= end for start, stop in part.ranges)
                assert 0 <= part.used <= part.tensor.size


@_few
@given(models, topologies())
def test_slices_of_one_tensor_divide_it_or_are_the_same(model: Model, topology: Topology) -> None:
    """Along its dimension no element is left out; two ranks have the same ones or none in common."""
    seen: dict[str, set[tuple[tuple[int, int], ...]]] = {}
    lengths: dict[str, int] = {}
    for plan in all_plans(model, topology, 1):
        for part in plan.files[0].parts:
            if part.dimension is not None:
                seen.setdefault(part.tensor.name, set()).add(part.spans)
                lengths[part.tensor.name] = part.tensor.shape[part.dimension]
    for name, spans in seen.items():
        rows = sorted(row for span in spans for row in span)
        fused = "qkv" in name  # its keys may be shared where its queries are not
        assert merge_ranges(rows) == ((0, lengths[name]),), name
        assert fused or all(before[1] <= after[0] for before, after in pairwise(rows)), name


@_few
@given(models, topologies())
def test_bytes_of_contiguous_slices_are_the_rows_of_the_slice(model: Model, topology: Topology) -> None:
    for plan in all_plans(model, topology, 1):
        for part in plan.files[0].parts:
            if part.dimension == 0:
                row = part.tensor.size // part.tensor.shape[0]
                assert part.fetched == row * sum(stop - start for start, stop in part.spans) == part.used
            elif part.dimension is not None:
                assert part.fetched == part.tensor.size  # strided: fetched once and shared


@_few
@given(models, SIZES, st.integers(1, 4), st.integers(1, 5))
def test_stages_divide_the_layers(model: Model, tp: int, pp: int, shards: int) -> None:
    topology = Topology(tp=tp, pp=pp)
    count = model.config["num_hidden_layers"]
    if pp > count:
        with pytest.raises(UsageError):
            all_plans(model, topology, shards)
        return
    stages = [set(topology.layers(stage, count)) for stage in range(pp)]
    assert sorted(layer for stage in stages for layer in stage) == list(range(count))
    for plan in all_plans(model, topology, shards):
        stage = stages[topology.place(plan.ranks[0]).stage]
        layers = {int(name.split(".layers.")[1].split(".")[0]) for name in plan.by_name() if ".layers." in name}
        assert {layer for layer in layers if layer < count} == stage


@given(st.integers(1, 64), st.integers(0, 600))
def test_experts_are_divided_in_blocks(ep: int, count: int) -> None:
    topology = Topology(tp=ep, ep=ep)
    blocks = [topology.experts(number, count) for number in range(ep)]
    assert [expert for block in blocks for expert in block] == list(range(count))
    assert max(map(len, blocks)) - min(map(len, blocks)) <= 1


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)).map(lambda pair: tuple(sorted(pair))), max_size=12))
def test_merged_ranges_are_the_same_bytes(ranges: list[tuple[int, int]]) -> None:
    merged = merge_ranges(ranges)
    assert {n for start, stop in merged for n in range(start, stop)} == {n for a, b in ranges for n in range(a, b)}
    assert all(before[1] < after[0] for before, after in pairwise(merged))


@_few
@given(models, st.data())
def test_a_file_of_some_tensors_has_their_bytes_and_no_others(model: Model, data: st.DataObject) -> None:
    from modelcar.checkpoint.formats.safetensors import read_safetensors

    names = list(model.tensors)
    indexed: IndexedFile = model.files()[0]
    content = {tensor.name: bytes([number % 251]) * tensor.size for number, tensor in enumerate(indexed.tensors)}
    original = model.write(names, content)
    header = read_safetensors(lambda offset, n: original[offset : offset + n], len(original), "a")
    kept = data.draw(st.sets(st.sampled_from(names)))
    found = subset(header, kept)
    made = bytearray(found.size)
    made[: len(found.head)] = found.head
    for move in found.moves:
        made[move.target : move.target + move.stop - move.start] = original[move.start : move.stop]
    again = read_safetensors(lambda offset, n: bytes(made[offset : offset + n]), len(made), "b")
    assert [t.name for t in again.tensors] == [t.name for t in header.tensors if t.name in kept]
    for tensor in again.tensors:
        assert (tensor.dtype, tensor.shape) == model.tensors[tensor.name]
        assert made[tensor.offset : tensor.offset + tensor.size] == content[tensor.name]
