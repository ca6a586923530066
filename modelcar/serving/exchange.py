"""A request and what became of it, for logs, metrics and traces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from modelcar.serving.messages import Request, Response
from modelcar.serving.pace import Pace

__all__ = ["Exchange", "Meter", "NoObserver", "Observer"]


class Meter:
    """Counts the bytes of one body on its way out, for the pace of its connection, too."""

    __slots__ = ("pace", "sent")

    def __init__(self, pace: Pace) -> None:
        self.sent = 0
        self.pace = pace

    def add(self, count: int) -> None:
        self.sent += count
        self.pace.moved(count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """`response` is what a handler answered, and `None` if it never did; `sent` are bytes of the body. `complete` is
    false where the client left, or we broke off."""

    request: Request
    response: Response | None
    sent: int
    seconds: float
    complete: bool

    @property
    def status(self) -> int:
        """499 where the client left before there was an answer."""
        return 499 if self.response is None else self.response.status


class Observer(Protocol):
    """Told of every exchange, on the event loop: quick, and it never raises."""

    def begun(self, request: Request) -> None: ...

    def finished(self, exchange: Exchange) -> None: ...


class NoObserver:
    """Looks at nothing."""

    def begun(self, request: Request) -> None:
        pass

    def finished(self, exchange: Exchange) -> None:
        pass
