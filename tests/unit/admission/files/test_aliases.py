"""`modelcar.admission.files.aliases`."""

from __future__ import annotations

from typing import Any

from modelcar.admission.files.aliases import shared


def lists(node: Any) -> list[Any]:
    return [inner for inner in node if isinstance(inner, list)]


def test_what_is_met_twice_is_shared_and_its_equals_are_not() -> None:
    twice = ["x"]
    assert shared([twice, ["x"], [twice]], lists) == {id(twice)}


def test_a_circle_ends() -> None:
    circle: list[Any] = []
    circle.append(circle)
    assert shared(circle, lists) == {id(circle)}


def test_nothing_is_shared_in_a_tree() -> None:
    assert shared([[1], [1], [[1]]], lists) == set()
