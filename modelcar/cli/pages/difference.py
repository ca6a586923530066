"""The page of two models: what of one is in the other, by layer, by file and by tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from modelcar.cli.pages.document import render
from modelcar.cli.pages.pictures import Bar, bar
from modelcar.cli.pages.places import Places
from modelcar.cli.pages.texts import json_text, shown
from modelcar.images.differences import Amount, Change, Difference, LayerChange, TensorChange

__all__ = ["Pair", "difference_page"]

_MOST_ROWS: Final = 150  # of layers and files
_MOST_LISTED: Final = 4000  # tensors that can be searched for
_MOST_BYTES: Final = 640_000  # of them as JSON
_FIRST: Final = 40  # that are shown before anybody searches
_LONGEST: Final = 120  # characters of a name
_COLUMNS: Final = ("mono", "change", "mono", "mono")  # classes of the cells of a tensor's row
# In the order in which they lie in a bar: what both sides have comes first, so it lines up.
_WORDS: Final = {
    Change.SAME: "the same",
    Change.UNKNOWN: "alike, not compared",
    Change.CHANGED: "changed",
    Change.REMOVED: "only before",
    Change.ADDED: "only after",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two bars on one scale, and the rows of their table: what, class of its colour, and how much of it."""

    before: Bar
    after: Bar
    rows: tuple[tuple[str, str, Amount], ...]


def difference_page(found: Difference, a: str, b: str) -> bytes:
    """The page about what became of `a` in `b`, of at most some 2 MiB however much there is to show."""
    places = Places()
    listed = _listed(found.tensors)
    layers = sorted((x for x in found.layers if x.change is not Change.SAME), key=_side_by_side)
    files = [file for file in found.files if file.change is not Change.SAME]
    known = found.file_amounts.get(Change.SAME, Amount()).after
    return render(
        "diff.html",
        places,
        {"rows": listed, "columns": _COLUMNS, "what": "tensors"},
        a=a,
        b=b,
        short_a=_short(a),
        short_b=_short(b),
        is_none=found.is_none,
        to_move=found.bytes_to_move,
        known=known,
        pairs=[
            (name, what, _pair(amounts, places))
            for name, what, amounts in (
                ("Layers", "Layers with files of the model, by digest.", found.layer_amounts),
                ("Files", "By digest, where both sides have one.", found.file_amounts),
                ("Tensors", "By name, dtype and shape; the same only in files that are.", found.tensor_amounts),
            )
            if amounts
        ],
        layers=(layers[:_MOST_ROWS], max(0, len(layers) - _MOST_ROWS)),
        files=(files[:_MOST_ROWS], max(0, len(files) - _MOST_ROWS)),
        words=_WORDS,
        tensors=listed[:_FIRST],
        tensor_count=len(found.tensors),
    )


def _side_by_side(layer: LayerChange) -> tuple[str, bool]:
    """So that a layer that changed lies above what became of it."""
    return min(layer.files), layer.before is None


def _pair(amounts: Mapping[Change, Amount], places: Places) -> Pair:
    rows = tuple((_WORDS[change], str(change), amounts[change]) for change in _WORDS if change in amounts)
    longest = max(sum(amount.before for _, _, amount in rows), sum(amount.after for _, _, amount in rows))
    return Pair(
        before=bar("before", ((word, tone, x.before, x.count) for word, tone, x in rows), longest, places),
        after=bar("after", ((word, tone, x.after, x.count) for word, tone, x in rows), longest, places),
        rows=rows,
    )


def _listed(tensors: Sequence[TensorChange]) -> list[list[str]]:
    rows, left = [], _MOST_BYTES
    for tensor in islice(tensors, _MOST_LISTED):
        cells = (tensor.name, _WORDS[tensor.change], tensor.before or "", tensor.after or "")
        row = [shown(cell, _LONGEST) for cell in cells]
        left -= len(json_text(row)) + 1
        if left < 0:
            break
        rows.append(row)
    return rows


def _short(name: str) -> str:
    """What people call it: without registry, folder or digest."""
    return name.partition("@")[0].rstrip("/").rpartition("/")[2] or name
