"""Areas are sizes, nothing leaves the picture, nothing lies on another."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelcar.cli.pages.treemap import Rectangle, squarify

SIZES = st.lists(st.integers(0, 1 << 50), max_size=80)
SIDES = st.floats(1, 5000)


@given(SIZES, SIDES, SIDES)
def test_areas_are_in_proportion(sizes: list[int], width: float, height: float) -> None:
    tiles = squarify(sizes, width, height)
    assert len(tiles) == len(sizes)
    if total := sum(sizes):
        for size, tile in zip(sizes, tiles, strict=True):
            assert tile.area == pytest.approx(width * height * (size / total), rel=1e-6, abs=width * height * 1e-9)


@given(SIZES, SIDES, SIDES)
def test_tiles_lie_inside(sizes: list[int], width: float, height: float) -> None:
    slack = 1e-9 * max(width, height)
    for tile in squarify(sizes, width, height):
        assert tile.x >= 0
        assert tile.y >= 0
        assert tile.x + tile.width <= width + slack
        assert tile.y + tile.height <= height + slack


@given(st.lists(st.integers(0, 1 << 50), max_size=30), SIDES, SIDES)
def test_no_tile_lies_on_another(sizes: list[int], width: float, height: float) -> None:
    tiles = [tile for tile in squarify(sizes, width, height) if tile.area]
    for a, b in itertools.combinations(tiles, 2):
        across = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
        down = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
        assert min(across, down) <= 1e-9 * max(width, height)


@given(SIZES, SIDES, SIDES)
def test_it_is_a_function_of_its_input(sizes: list[int], width: float, height: float) -> None:
    assert squarify(sizes, width, height) == squarify(sizes, width, height)


def test_the_example_of_the_paper() -> None:
    tiles = squarify([6, 6, 4, 3, 2, 2, 1], 6, 4)
    assert [(round(t.x, 2), round(t.y, 2), round(t.width, 2), round(t.height, 2)) for t in tiles] == [
        (0, 0, 3, 2),
        (0, 2, 3, 2),
        (3, 0, 1.71, 2.33),
        (4.71, 0, 1.29, 2.33),
        (3, 2.33, 1.2, 1.67),
        (4.2, 2.33, 1.2, 1.67),
        (5.4, 2.33, 0.6, 1.67),
    ]


def test_equal_sizes_become_squares() -> None:
    assert squarify([5] * 4, 2, 2) == [
        Rectangle(0, 0, 1, 1),
        Rectangle(0, 1, 1, 1),
        Rectangle(1, 0, 1, 1),
        Rectangle(1, 1, 1, 1),
    ]


@pytest.mark.parametrize("sizes", [[], [0], [0, 0]])
def test_where_there_is_nothing_there_is_no_area(sizes: list[int]) -> None:
    assert [tile.area for tile in squarify(sizes, 10, 10)] == [0.0] * len(sizes)


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        squarify([1, -1], 10, 10)
