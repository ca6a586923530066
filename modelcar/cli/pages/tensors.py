"""What a page says of a model's tensors: totals, the kinds of them that take most room, and the largest by name."""

from __future__ import annotations

import heapq
import re
from dataclasses import dataclass
from typing import Final

from modelcar.checkpoint.formats.header import Tensor
from modelcar.cli.output import human_size
from modelcar.cli.pages.pictures import Bar, Portion, bar
from modelcar.cli.pages.places import Places
from modelcar.cli.pages.texts import json_text, shown
from modelcar.cli.tensors import dtype_totals, tensors_of
from modelcar.images.described import DescribedModel

__all__ = ["MOST_LISTED", "Tensors", "tensors_part"]

MOST_LISTED: Final = 4000  # tensors that can be searched for
_MOST_BYTES: Final = 640_000  # of them as JSON
_FIRST: Final = 25  # that are shown before anybody searches
_MOST_DTYPES: Final = 6  # as many colours as can be told apart, with one for the rest
_MOST_FAMILIES: Final = 10
_LONGEST: Final = 120  # characters of a name
_TIMES: Final = " \N{MULTIPLICATION SIGN} "
_NUMBER: Final = re.compile(r"\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensors:
    """Rows of the list are name, dtype, shape, size, and the file's name.

    Attributes:
        families: tensors whose names differ in numbers only, those of most bytes first; bars relative to the first.
        listed: what the script searches in, largest first.
        first: the beginning of it, which is there without the script.
    """

    count: int
    elements: int
    size: int
    dtypes: Bar
    families: tuple[Portion, ...]
    listed: list[list[str]]
    first: list[list[str]]


def tensors_part(model: DescribedModel, places: Places) -> Tensors | None:
    """`None` where nothing is known of tensors."""
    totals = dtype_totals(model)
    if not totals:
        return None
    parts = [(name, f"dtype{i}", size, count) for i, (name, (count, _, size)) in enumerate(totals.items())]
    size = sum(part[2] for part in parts)
    if (rest := parts[_MOST_DTYPES - 1 :]) and len(rest) > 1:
        sums = (sum(part[2] for part in rest), sum(part[3] for part in rest))
        parts[_MOST_DTYPES - 1 :] = [(f"{len(rest)} others", f"dtype{_MOST_DTYPES - 1}", *sums)]
    listed = _listed(model)
    return Tensors(
        count=sum(count for count, _, _ in totals.values()),
        elements=sum(elements for _, elements, _ in totals.values()),
        size=size,
        dtypes=bar("dtypes", parts, size, places),
        families=_families(model, places),
        listed=listed,
        first=listed[:_FIRST],
    )


def _families(model: DescribedModel, places: Places) -> tuple[Portion, ...]:
    sums: dict[str, tuple[int, int]] = {}
    for _, tensor in tensors_of(model):
        name = tensor.name
        family = _NUMBER.sub("*", name if len(name) <= _LONGEST else shown(name, _LONGEST))
        size, count = sums.get(family, (0, 0))
        sums[family] = (size + tensor.size, count + 1)
    largest = heapq.nsmallest(_MOST_FAMILIES, sums.items(), key=lambda item: (-item[1][0], item[0]))
    most = largest[0][1][0]
    return tuple(
        Portion(name=name, size=size, count=count, tone="dtype0", place=places.width(size, most))
        for name, (size, count) in largest
    )


def _listed(model: DescribedModel) -> list[list[str]]:
    largest = heapq.nsmallest(MOST_LISTED, tensors_of(model), key=lambda pair: (-pair[1].size, pair[1].name))
    rows, left = [], _MOST_BYTES
    for file, tensor in largest:
        row = _row(file.path, tensor)
        left -= len(json_text(row)) + 1
        if left < 0:
            break
        rows.append(row)
    return rows


def _row(path: str, tensor: Tensor) -> list[str]:
    shape = _TIMES.join(map(str, tensor.shape[:8])) or "scalar"
    return [
        shown(tensor.name, _LONGEST),
        shown(tensor.dtype, 20),
        f"{shape}{_TIMES}…" if len(tensor.shape) > 8 else shape,
        human_size(tensor.size),
        shown(path, _LONGEST),
    ]
