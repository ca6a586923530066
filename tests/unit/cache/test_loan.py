"""What a lease knows of failures, whichever of its threads comes first."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

import pytest

from modelcar.cache.holding import Arriving
from modelcar.cache.loan import Loan
from modelcar.errors import Unreachable
from tests.support.chunks import Content


class Tardy(Future[None]):
    """Wakes those who wait for its result at once, and calls back only when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.late: list[Callable[[Future[None]], object]] = []

    def add_done_callback(self, fn: Callable[[Future[None]], object]) -> None:
        self.late.append(fn)

    def call_back(self) -> None:
        for fn in self.late:
            fn(self)


class Failing(Arriving):
    """Holds nothing; remembers who needed something `again`."""

    def __init__(self) -> None:
        self.future = Tardy()
        self.needed: list[bool] = []

    def need(self, offset: int, length: int, who: object, *, again: bool) -> None:
        self.needed.append(again)

    def when(self, offset: int, length: int) -> Future[None]:
        return self.future


@pytest.fixture
def holding() -> Failing:
    return Failing()


@pytest.fixture
def lease(content: Content, holding: Failing) -> Loan:
    return Loan(content.plain).begin(holding, lambda _: None)


def test_who_was_told_of_a_failure_has_it_tried_again(lease: Loan, holding: Failing) -> None:
    """`Future` wakes who waits before it calls back: whoever asks in between must not be taken for one who waits."""
    lease.need(0, 1)
    answer = lease.when(0, 1)
    holding.future.set_exception(Unreachable("registry.example: nothing listens there"))
    if not answer.done():
        holding.future.call_back()
    with pytest.raises(Unreachable, match="nothing listens"):
        answer.result(0)
    lease.need(0, 1)
    lease.need(0, 1)
    assert holding.needed == [False, True, False]


def test_what_goes_well_is_passed_on(lease: Loan, holding: Failing) -> None:
    answer = lease.when(0, 1)
    assert not answer.done()
    holding.future.set_result(None)
    holding.future.call_back()
    assert answer.result(0) is None
    lease.need(0, 1)
    assert holding.needed == [False]


def test_who_has_gone_is_not_told(lease: Loan, holding: Failing) -> None:
    answer = lease.when(0, 1)
    answer.cancel()
    holding.future.set_exception(Unreachable("registry.example: nothing listens there"))
    holding.future.call_back()
    lease.need(0, 1)
    assert holding.needed == [False]
