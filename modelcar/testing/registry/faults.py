"""What goes wrong: faults that a test sets one by one, and those that a seed scatters over the bytes that move."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Final, Self

__all__ = ["IN_BODIES", "Fault", "FaultPlan", "Faults", "Wrong"]

_GIB: Final = 1 << 30
_STATUSES: Final = (429, 500, 502, 503, 504)


class Wrong(StrEnum):
    """What a registry can do wrong."""

    CUT = "cut"
    """The connection ends after `after` bytes of the body: of the request's, or the answer's."""
    STATUS = "status"
    """`status` after `after` bytes of the request's body, with `Retry-After` if `retry_after` is not `None`."""
    SLOW_COMMIT = "slow-commit"
    """`seconds` more until a commit is answered."""
    EXPIRED_TOKEN = "expired-token"  # noqa: S105  # the name of a fault
    """No token that was given out is good any more."""
    WRONG_DIGEST = "wrong-digest"
    """A byte of a download, or of what an upload stores, is another one."""
    REDIRECT = "redirect"
    """A blob lies on another host, behind a signed query."""
    LOST_SESSION = "lost-session"
    """The upload session is gone."""
    LOST_ANSWER = "lost-answer"
    """A commit takes effect, and the connection ends before its answer."""
    DRIP = "drip"
    """The rest of the body moves at `rate` bytes a second."""
    STALL = "stall"
    """Nothing moves for `seconds`, after `after` bytes."""


IN_BODIES: Final = frozenset({Wrong.CUT, Wrong.DRIP, Wrong.STALL, Wrong.WRONG_DIGEST})
_OF_UPLOADS: Final = frozenset({Wrong.SLOW_COMMIT, Wrong.LOST_SESSION, Wrong.LOST_ANSWER})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong, for the `times` requests after the first `skip` ones that `method` and `path` fit.

    `path` is a part of the request's path; blobs on the other host lie under `/blobs/`, too. Faults of bodies pass
    over requests that carry none, or one that ends before `after`.
    """

    wrong: Wrong
    method: str = ""
    path: str = ""
    after: int = 0
    times: int = 1
    skip: int = 0
    status: int = 503
    retry_after: int | None = None
    seconds: float = 0.5
    rate: int = 1 << 20

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        return cls(**{**document, "wrong": Wrong(document["wrong"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Faults at random: `per_gib` for each GiB of blobs that moves, in either direction, of these kinds."""

    seed: int
    per_gib: float = 20.0
    wrongs: tuple[Wrong, ...] = tuple(Wrong)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        return cls(**{**document, "wrongs": tuple(map(Wrong, document["wrongs"]))})


class FaultPlan:
    """Which fault comes next. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._given: list[Fault] = []
        self._waiting: deque[Fault] = deque()  # random ones, for the next request that they fit
        self._random: random.Random | None = None
        self._faults: Faults | None = None
        self._left = 0.0  # bytes until the next random one

    def give(self, faults: Iterable[Fault]) -> None:
        with self._lock:
            self._given += faults

    def scatter(self, faults: Faults) -> None:
        with self._lock:
            self._faults, self._random = faults, random.Random(faults.seed)  # noqa: S311  # not a secret
            self._left = self._gap()

    def clear(self) -> None:
        with self._lock:
            self._given.clear()
            self._waiting.clear()
            self._faults = self._random = None

    def for_request(self, method: str, path: str, size: int | None, *, blob: bool) -> Fault | None:
        """The fault of a request whose body has `size` bytes; `blob`: of a blob."""

        def fits(fault: Fault) -> bool:
            if fault.wrong in IN_BODIES and not (blob and (size is None or fault.after < size)):
                return False
            return _fits(fault, method, path) and (not fault.after or size is None or fault.after <= size)

        return self._take(fits, path)

    def for_answer(self, method: str, path: str, size: int) -> Fault | None:
        """The fault in the `size` bytes of a blob that are the answer."""
        return self._take(lambda f: f.wrong in IN_BODIES and f.after < size and _fits(f, method, path), path)

    def moved(self, size: int, method: str) -> Fault | None:
        """`size` bytes of a blob moved: the random fault that is due in them; what cannot happen there waits."""
        upload = method != "GET"
        with self._lock:
            if self._random is None or self._faults is None:
                return None
            self._left -= size
            if self._left > 0:
                return None
            self._left += self._gap()
            fault = _draw(self._random, self._faults, (*_STATUSES, 416) if method == "PATCH" else _STATUSES)
            if fault.wrong in IN_BODIES or (upload and fault.wrong in (Wrong.STATUS, Wrong.LOST_SESSION)):
                return fault
            if upload or fault.wrong not in _OF_UPLOADS:
                self._waiting.append(fault)
            return None

    def _take(self, fits: Callable[[Fault], bool], path: str) -> Fault | None:
        with self._lock:
            for place, fault in enumerate(self._given):
                if fits(fault):
                    if fault.skip:
                        self._given[place] = replace(fault, skip=fault.skip - 1)
                        continue
                    self._given[place] = replace(fault, times=fault.times - 1)
                    self._given = [f for f in self._given if f.times > 0]
                    return fault
            for fault in self._waiting if "/blobs/" in path else ():
                if fits(fault):
                    self._waiting.remove(fault)
                    return fault
        return None

    def _gap(self) -> float:
        if self._random is None or self._faults is None or self._faults.per_gib <= 0:
            return float("inf")
        return self._random.expovariate(self._faults.per_gib / _GIB)


def _draw(dice: random.Random, faults: Faults, statuses: tuple[int, ...]) -> Fault:
    status = dice.choice(statuses)
    return Fault(
        wrong=dice.choice(faults.wrongs),
        status=status,
        retry_after=1 if status == 429 else None,
        seconds=0.2,
        rate=4 << 20,
    )


def _fits(fault: Fault, method: str, path: str) -> bool:
    if fault.method not in ("", method) or fault.path not in path:
        return False
    match fault.wrong:
        case Wrong.SLOW_COMMIT | Wrong.LOST_ANSWER:
            return method == "PUT" and "/blobs/uploads/" in path
        case Wrong.LOST_SESSION:
            return "/blobs/uploads/" in path and not path.endswith("/uploads/")
        case Wrong.REDIRECT:
            return method == "GET" and path.startswith("/v2/") and "/blobs/sha" in path
        case Wrong.EXPIRED_TOKEN:
            return path.startswith("/v2/")
    return True
