"""How ranks are numbered and what each of them has."""

from __future__ import annotations

import pytest

from modelcar.errors import UsageError
from modelcar.ranks import Topology


def test_slices_change_fastest_then_stages() -> None:
    topology = Topology(tp=4, pp=2)
    assert topology.size == 8
    places = [topology.place(rank) for rank in range(8)]
    assert [place.tp_rank for place in places] == [0, 1, 2, 3] * 2
    assert [place.stage for place in places] == [0] * 4 + [1] * 4


def test_experts_over_groups_of_a_stage() -> None:
    """As SGLang does it: of eight ranks in four groups, two neighbours slice the same experts."""
    topology = Topology(tp=8, ep=4)
    places = [topology.place(rank) for rank in range(8)]
    assert [place.ep_rank for place in places] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [place.expert_slice for place in places] == [0, 1] * 4
    assert {place.expert_slices for place in places} == {2}


def test_experts_over_copies_of_attention() -> None:
    """As vLLM does it: two copies of attention, each over two ranks, have a quarter of the experts a rank."""
    topology = Topology(tp=2, pp=2, ep=4)
    assert (topology.copies, topology.size) == (2, 8)
    places = [topology.place(rank) for rank in range(8)]
    assert [(p.stage, p.tp_rank, p.ep_rank) for p in places] == [
        (0, 0, 0), (0, 1, 1), (1, 0, 0), (1, 1, 1), (0, 0, 2), (0, 1, 3), (1, 0, 2), (1, 1, 3),
    ]  # fmt: skip
    assert {place.expert_slices for place in places} == {1}


@pytest.mark.parametrize(
    ("layers", "pp", "sizes"),
    [(32, 4, [8, 8, 8, 8]), (61, 2, [31, 30]), (61, 4, [15, 15, 16, 15]), (62, 4, [15, 16, 16, 15]), (3, 3, [1, 1, 1])],
)
def test_what_cannot_be_divided_goes_to_the_stages_before_the_last(layers: int, pp: int, sizes: list[int]) -> None:
    topology = Topology(pp=pp)
    assert [len(topology.layers(stage, layers)) for stage in range(pp)] == sizes


def test_stages_may_be_given() -> None:
    topology = Topology(pp=3, stages=(5, 2, 3))
    assert [topology.layers(stage, 10) for stage in range(3)] == [range(5), range(5, 7), range(7, 10)]
    with pytest.raises(UsageError, match="the stages have 10 layers and the model has 11"):
        topology.layers(0, 11)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tp": 0}, "one rank at least"),
        ({"tp": 4, "ep": 3}, "3 expert-parallel groups do not fit 4"),
        ({"tp": 4, "ep": 6}, "6 expert-parallel groups do not fit 4"),
        ({"pp": 2, "stages": (1,)}, "1 numbers of layers are given for 2"),
        ({"pp": 2, "stages": (0, 4)}, "2 numbers of layers are given for 2"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Topology(**options)  # type: ignore[arg-type]  # settings by their names


@pytest.mark.parametrize("rank", [-1, 8])
def test_a_rank_that_there_is_not(rank: int) -> None:
    with pytest.raises(UsageError, match=f"no rank {rank}") as caught:
        Topology(tp=4, pp=2).place(rank)
    assert caught.value.hint == "ranks are numbered from 0 to 7"


def test_more_stages_than_layers() -> None:
    with pytest.raises(UsageError, match="3 layers cannot be divided over 4"):
        Topology(pp=4).layers(0, 3)
