"""Several ranks at once: what a node needs that has some of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from modelcar.ranks.plan import FilePlan, RankPlan
from modelcar.ranks.slices import TensorPart, Why, merge_ranges

__all__ = ["merge_plans"]


def merge_plans(plans: Sequence[RankPlan]) -> RankPlan:
    """What all of these ranks of one model need together. Bytes that several need count once."""
    if len(plans) == 1:
        return plans[0]
    whole: Counter[Why] = Counter()
    for plan in plans:
        whole |= Counter(dict(plan.whole))
    files = zip(*(plan.files for plan in plans), strict=True)
    return RankPlan(
        topology=plans[0].topology,
        ranks=tuple(sorted({rank for plan in plans for rank in plan.ranks})),
        files=tuple(map(_merge_files, files)),
        whole=dict(whole),
    )


def _merge_files(files: Sequence[FilePlan]) -> FilePlan:
    parts: dict[str, list[TensorPart]] = {}
    for file in files:
        for part in file.parts:
            parts.setdefault(part.tensor.name, []).append(part)
    in_order = (parts[tensor.name] for tensor in files[0].file.tensors if tensor.name in parts)
    return FilePlan(
        file=files[0].file,
        needed=any(file.needed for file in files),
        parts=tuple(map(_merge_parts, in_order)),
        ranges=merge_ranges(r for file in files for r in file.ranges),
    )


def _merge_parts(parts: Sequence[TensorPart]) -> TensorPart:
    first = parts[0]
    ranges = merge_ranges(r for part in parts for r in part.ranges)
    if any(part.dimension != first.dimension for part in parts) or first.dimension is None:
        return TensorPart(tensor=first.tensor, dimension=None, spans=(), ranges=ranges, why=first.why)
    spans = merge_ranges(span for part in parts for span in part.spans)
    return TensorPart(tensor=first.tensor, dimension=first.dimension, spans=spans, ranges=ranges)
