from __future__ import annotations

import pytest

from registry_shim.distribution.ranges import Unsatisfiable, is_current, requested_range


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=2-5", (2, 4)),
        ("bytes=2-", (2, 8)),
        ("bytes=2-99", (2, 8)),
        ("bytes=-3", (7, 3)),
        ("bytes=-99", (0, 10)),
        ("Bytes=1-1", (1, 1)),
        ("bytes=0-1,4-5", None),
        ("bytes=5-2", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("items=0-1", None),
        ("bytes=²-3", None),
        ("", None),
    ],
)
def test_what_a_range_asks_for(header: str, expected: tuple[int, int] | None) -> None:
    assert requested_range({"range": header}, 10, '"e"') == expected


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=10-", 10), ("bytes=10-12", 10), ("bytes=-0", 10), ("bytes=0-", 0)]
)
def test_a_range_past_the_end_cannot_be_satisfied(header: str, size: int) -> None:
    with pytest.raises(Unsatisfiable):
        requested_range({"range": header}, size, '"e"')


def test_a_range_of_another_representation_gets_the_whole() -> None:
    assert requested_range({"range": "bytes=1-2", "if-range": '"other"'}, 10, '"e"') is None
    assert requested_range({"range": "bytes=1-2", "if-range": '"e"'}, 10, '"e"') == (1, 2)


@pytest.mark.parametrize(("given", "current"), [('"e"', True), ('"x", W/"e"', True), ("*", True), ('"x"', False)])
def test_whether_a_client_has_it_already(given: str, current: bool) -> None:
    assert is_current({"if-none-match": given}, '"e"') is current


def test_unconditional_requests_are_answered() -> None:
    assert not is_current({}, '"e"')
