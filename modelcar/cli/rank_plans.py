"""What ranks need of a model, for people and programs."""

from __future__ import annotations

from typing import Any

from modelcar.cli.output import Output, Table, human_size
from modelcar.cli.ranks import RankChoice
from modelcar.images.described import DescribedModel
from modelcar.ranks import FilePlan, RankPlan, TensorPart, Topology

__all__ = ["show_all_ranks", "show_rank_plan"]


def show_all_ranks(output: Output, name: str, model: DescribedModel, choice: RankChoice) -> None:
    """A line for each rank: where it stands, and how much it needs."""
    plans = choice.plans(model, range(choice.topology.size))
    total = plans[0].total
    output.document(
        {
            "name": name,
            **_topology(choice.topology),
            "size": total,
            "ranks": [_rank(plan) for plan in plans],
        }
    )
    rows = [
        [
            *map(str, _place(plan).values()),
            human_size(plan.fetched),
            _percent(plan.fetched, total),
            human_size(plan.kept),
        ]
        for plan in plans
    ]
    columns = ("rank", "stage", "slice", "experts", "needs", "share", "keeps")
    output.table(Table(columns=columns, rows=rows, right=frozenset(columns)))
    output.line(f"of {human_size(total)} in {len(model.files)} files")
    _show_whole(output, plans[0])


def show_rank_plan(output: Output, name: str, model: DescribedModel, choice: RankChoice) -> None:
    """Which bytes of which files the chosen ranks need."""
    plan = choice.plan(model)
    output.document(
        {
            "name": name,
            **_topology(plan.topology),
            "ranks": list(plan.ranks),
            "size": plan.total,
            "bytes": plan.fetched,
            "share": _share(plan.fetched, plan.total),
            "bytesKept": plan.kept,
            "bytesOfWholeTensors": plan.tensor_bytes,
            "whole": {str(why): size for why, size in plan.whole.items()},
            "files": [_file(file, model) for file in plan.files if file.needed],
        }
    )
    rows = [
        [
            file.file.path,
            human_size(file.fetched),
            _percent(file.fetched, file.file.size),
            f"{len(file.parts)} of {len(file.file.tensors)}" if file.file.tensors else "",
            str(len(file.ranges)),
        ]
        for file in plan.files
        if file.needed
    ]
    columns = ("file", "needs", "share", "tensors", "ranges")
    output.table(Table(columns=columns, rows=rows, right=frozenset(columns[1:])))
    out = len(plan.files) - len(rows)
    output.line(f"nothing of {out} other file{'s' * (out != 1)}" if out else "something of every file")
    needs = f"{human_size(plan.fetched)} of {human_size(plan.total)} ({_percent(plan.fetched, plan.total)})"
    output.line(f"{choice.words}: {needs}, of which {human_size(plan.kept)} stay in memory")
    tensors = f"{human_size(plan.tensor_bytes)} ({_percent(plan.tensor_bytes, plan.total)})"
    output.line(f"in whole tensors, as `pull --rank` brings them: {tensors}")
    _show_whole(output, plan)


def _show_whole(output: Output, plan: RankPlan) -> None:
    """What is not divided though it might be: whoever wonders why a rank needs so much is told."""
    for why, size in plan.whole.items():
        output.line(f"{human_size(size)} are taken whole: {why}")


def _topology(topology: Topology) -> dict[str, Any]:
    stages = {"stages": list(topology.stages)} if topology.stages else {}
    return {"tp": topology.tp, "pp": topology.pp, "ep": topology.ep, **stages}


def _place(plan: RankPlan) -> dict[str, int]:
    place = plan.topology.place(plan.ranks[0])
    return {"rank": place.rank, "stage": place.stage, "slice": place.tp_rank, "experts": place.ep_rank}


def _rank(plan: RankPlan) -> dict[str, Any]:
    share = _share(plan.fetched, plan.total)
    return {**_place(plan), "bytes": plan.fetched, "bytesKept": plan.kept, "share": share}


def _file(file: FilePlan, model: DescribedModel) -> dict[str, Any]:
    result: dict[str, Any] = {
        "path": file.file.path,
        "size": file.file.size,
        "bytes": file.fetched,
        "ranges": [[start, stop - start] for start, stop in file.ranges],
    }
    if (layer := model.layers.get(file.file.path)) is not None:
        result |= {"layer": str(layer.digest), "offset": file.file.offset}
    if file.parts:
        result["tensors"] = [_tensor(part) for part in file.parts]
    return result


def _tensor(part: TensorPart) -> dict[str, Any]:
    """Spans are those of the tensor as it is stored; a tensor without them is needed whole."""
    if part.dimension is None:
        return {"name": part.tensor.name}
    return {"name": part.tensor.name, "dimension": part.dimension, "spans": [list(span) for span in part.spans]}


def _share(size: int, total: int) -> float:
    return round(size / total, 6) if total else 0.0


def _percent(size: int, total: int) -> str:
    return f"{100 * size / total:.1f} %" if total else "-"
