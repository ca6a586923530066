"""The slices of all ranks compute what the whole matrices compute: the reason why they are the right ones."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from modelcar.ranks import RankPlan, Topology, plan_rank
from tests.support.architectures import Model, gpt_neox, llama, phi3

Vector = list[int]
Matrix = list[Vector]


def times(matrix: Matrix, vector: Vector) -> Vector:
    return [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]


def add(vectors: list[Vector]) -> Vector:
    return [sum(column) for column in zip(*vectors, strict=True)]


def attend(queries: list[Vector], keys: list[Vector], values: list[Vector]) -> Vector:
    """Not attention, but as it: head by head, each query head with the key and value head of its group."""
    group = len(queries) // len(keys)
    out = []
    for number, query in enumerate(queries):
        score = sum(a * b for a, b in zip(query, keys[number // group], strict=True))
        out += [score * value for value in values[number // group]]
    return out


def heads_of(vector: Vector, size: int) -> list[Vector]:
    return [vector[i : i + size] for i in range(0, len(vector), size)]


class Rank:
    """The slices that a plan gives a rank of a model full of random numbers."""

    def __init__(self, matrices: dict[str, Matrix], plan: RankPlan | None) -> None:
        self._matrices, self._parts = matrices, plan.by_name() if plan is not None else {}

    def __getitem__(self, name: str) -> Matrix:
        matrix, part = self._matrices[name], self._parts.get(name)
        if part is None or part.dimension is None:
            return matrix
        kept = [i for start, stop in part.spans for i in range(start, stop)]
        return [matrix[i] for i in kept] if part.dimension == 0 else [[row[i] for i in kept] for row in matrix]


def numbers(model: Model, seed: int) -> dict[str, Matrix]:
    chance = random.Random(seed)
    return {
        name: [[chance.randint(-3, 3) for _ in range(shape[1])] for _ in range(shape[0])]
        for name, (_, shape) in model.tensors.items()
        if len(shape) == 2
    }


def llama_layer(rank: Rank, x: Vector, size: int) -> tuple[Vector, Vector]:
    attention, mlp = "model.layers.0.self_attn", "model.layers.0.mlp"
    q, k, v = (heads_of(times(rank[f"{attention}.{n}_proj.weight"], x), size) for n in "qkv")
    mixed = times(rank[f"{attention}.o_proj.weight"], attend(q, k, v))
    gate, up = times(rank[f"{mlp}.gate_proj.weight"], x), times(rank[f"{mlp}.up_proj.weight"], x)
    return mixed, times(rank[f"{mlp}.down_proj.weight"], [max(0, g) * u for g, u in zip(gate, up, strict=True)])


def phi3_layer(rank: Rank, x: Vector, size: int) -> tuple[Vector, Vector]:
    """Whoever slices a fused matrix gets the slices of its parts one after the other."""
    attention, mlp = "model.layers.0.self_attn", "model.layers.0.mlp"
    fused = heads_of(times(rank[f"{attention}.qkv_proj.weight"], x), size)
    queries = len(rank[f"{attention}.o_proj.weight"][0]) // size
    groups = (len(fused) - queries) // 2
    q, k, v = fused[:queries], fused[queries : queries + groups], fused[queries + groups :]
    mixed = times(rank[f"{attention}.o_proj.weight"], attend(q, k, v))
    both = times(rank[f"{mlp}.gate_up_proj.weight"], x)
    gate, up = both[: len(both) // 2], both[len(both) // 2 :]
    return mixed, times(rank[f"{mlp}.down_proj.weight"], [max(0, g) * u for g, u in zip(gate, up, strict=True)])


def gpt_neox_layer(rank: Rank, x: Vector, size: int) -> tuple[Vector, Vector]:
    """Query, key and value of one head lie beside each other."""
    prefix = "gpt_neox.layers.0"
    fused = heads_of(times(rank[f"{prefix}.attention.query_key_value.weight"], x), 3 * size)
    q, k, v = ([head[i * size : (i + 1) * size] for head in fused] for i in range(3))
    mixed = times(rank[f"{prefix}.attention.dense.weight"], attend(q, k, v))
    inner = [max(0, n) for n in times(rank[f"{prefix}.mlp.dense_h_to_4h.weight"], x)]
    return mixed, times(rank[f"{prefix}.mlp.dense_4h_to_h.weight"], inner)


@pytest.mark.parametrize("tp", [1, 2, 4, 8])
@pytest.mark.parametrize(
    ("model", "layer", "size"),
    [
        (llama(layers=1, heads=8, kv=8, size=2, inner=32), llama_layer, 2),
        (llama(layers=1, heads=8, kv=2, size=2, inner=32), llama_layer, 2),
        (llama(layers=1, heads=8, kv=1, size=2, inner=32), llama_layer, 2),
        (phi3(layers=1, heads=8, kv=8, size=2, inner=32), phi3_layer, 2),
        (phi3(layers=1, heads=8, kv=2, size=2, inner=32), phi3_layer, 2),
        (gpt_neox(layers=1, heads=8, size=2), gpt_neox_layer, 2),
    ],
    ids=["llama", "llama-groups", "llama-one-group", "phi3", "phi3-groups", "gpt-neox"],
)
def test_ranks_add_up_to_the_whole(
    model: Model, layer: Callable[[Rank, Vector, int], tuple[Vector, Vector]], size: int, tp: int
) -> None:
    matrices = numbers(model, seed=tp)
    x = [random.Random(tp).randint(-3, 3) for _ in range(model.config["hidden_size"])]
    whole = layer(Rank(matrices, None), x, size)
    assert any(whole[0])
    assert any(whole[1])
    plans = [plan_rank(model.files(), model.config, Topology(tp=tp), rank) for rank in range(tp)]
    found = [layer(Rank(matrices, plan), x, size) for plan in plans]
    assert add([mixed for mixed, _ in found]) == whole[0]
    assert add([out for _, out in found]) == whole[1]
    if tp > 1:
        assert all(plan.fetched < plans[0].total for plan in plans)
