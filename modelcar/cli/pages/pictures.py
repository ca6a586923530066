"""The pictures of a page: a treemap of layers, and bars. What a tile or a portion is called is text like any other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from modelcar.cli.layers import ImageLayer
from modelcar.cli.pages.places import Places
from modelcar.cli.pages.treemap import Rectangle, squarify
from modelcar.oci import Digest

__all__ = ["Bar", "Portion", "Tile", "bar", "by_kind", "tiles"]

_CANVAS: Final = Rectangle(0, 0, 1600, 640)  # only the ratio matters
_KINDS: Final = {"weights": "weights", "files": "small files", "index": "model index", "holder": "holder"}
_OTHER: Final = ("other", "other layers")
_MANY: Final = 8  # weights whose tiles are too narrow for their whole names
_MOST_TILES: Final = 120  # beyond, nobody sees one; the rest becomes one tile


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A layer in the treemap, or what is left of them as one. `place` is a class of the style sheet, `tone` another.

    Attributes:
        label: the name on the tile; where there are many, without what the names of all weights begin with.
    """

    number: int
    name: str
    label: str
    digest: Digest | None
    size: int
    within: str
    media_type: str
    tone: str
    kind: str
    place: str
    shared: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """A part of a bar, and its row in the legend or table. `tone` and `place` are classes of the style sheet."""

    name: str
    size: int
    count: int
    tone: str
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    name: str
    total: int
    portions: tuple[Portion, ...]


def tiles(layers: Sequence[ImageLayer], shared: frozenset[Digest], places: Places) -> list[Tile]:
    """A tile a layer, in their order; of more than can be seen the smallest become one."""
    drawn, rest = list(layers), 0
    if len(layers) > _MOST_TILES:
        kept = {layer.digest for layer in sorted(layers, key=lambda layer: -layer.size)[: _MOST_TILES - 1]}
        drawn = [layer for layer in layers if layer.digest in kept]
        rest = sum(layer.size for layer in layers) - sum(layer.size for layer in drawn)
    weights = [_name(layer) for layer in layers if layer.kind == "weights"]
    common = _common_start(weights) if len(weights) >= _MANY else ""
    parts = squarify([*(layer.size for layer in drawn), rest], _CANVAS.width, _CANVAS.height)
    found = [
        Tile(
            number=number,
            name=_name(layer),
            label=_name(layer) if layer.kind != "weights" or not common else f"…{_name(layer)[len(common) :]}",
            digest=layer.digest,
            size=layer.size,
            within=layer.within,
            media_type=layer.media_type,
            tone=_kind(layer)[0],
            kind=_kind(layer)[1],
            place=places.tile(part, _CANVAS),
            shared=layer.digest in shared,
        )
        for number, (layer, part) in enumerate(zip(drawn, parts[:-1], strict=True), 1)
    ]
    if len(drawn) < len(layers):
        tone, kind = _OTHER
        found.append(
            Tile(
                number=len(found) + 1,
                name=f"{len(layers) - len(drawn)} smaller layers",
                label=f"{len(layers) - len(drawn)} smaller layers",
                digest=None,
                size=rest,
                within="",
                media_type="",
                tone=tone,
                kind=kind,
                place=places.tile(parts[-1], _CANVAS),
                shared=False,
            )
        )
    return found


def _common_start(names: Sequence[str]) -> str:
    first, last = min(names), max(names)
    return first[: next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))]


def _name(layer: ImageLayer) -> str:
    return layer.holds or (_kind(layer)[1] if layer.kind in _KINDS else "layer")


def by_kind(layers: Iterable[ImageLayer]) -> list[Portion]:
    """What there is of each kind of layer; the most bytes first."""
    sums: dict[tuple[str, str], tuple[int, int]] = {}
    for layer in layers:
        size, count = sums.get(_kind(layer), (0, 0))
        sums[_kind(layer)] = (size + layer.size, count + 1)
    ordered = sorted(sums.items(), key=lambda item: -item[1][0])
    return [Portion(name=name, size=size, count=count, tone=tone, place="") for (tone, name), (size, count) in ordered]


def bar(name: str, parts: Iterable[tuple[str, str, int, int]], longest: int, places: Places) -> Bar:
    """A bar of `(name, tone, size, count)`; one of `longest` bytes is as wide as the page."""
    portions = tuple(
        Portion(name=part, size=size, count=count, tone=tone, place=places.width(size, longest))
        for part, tone, size, count in parts
    )
    return Bar(name=name, total=sum(portion.size for portion in portions), portions=portions)


def _kind(layer: ImageLayer) -> tuple[str, str]:
    """The class of its colour, never what an annotation says; and what to call it."""
    return (layer.kind, _KINDS[layer.kind]) if layer.kind in _KINDS else _OTHER
