"""What an upstream does wrong on demand: values that tests write into its folder and its process reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

__all__ = ["FAULTS", "PASSING", "Fault", "Wrong", "read_faults", "write_faults"]

FAULTS: Final = "faults.json"
_MIB: Final = 1 << 20


class Wrong(StrEnum):
    """The ways to go wrong."""

    STATUS = "an error status"
    DROP = "hangs up without an answer"
    CUT = "hangs up after some of the body"
    STALL = "goes quiet after some of the body"
    SLOW = "sends slowly"
    FLIP = "one byte of the body is another"
    WHOLE = "200 with all of it for a range"
    SHIFTED = "another range than was asked for, and says so"
    MISLABELLED = "another range than was asked for, called the right one"
    SHORT = "Content-Length is less than the range"
    LONG = "Content-Length is more than the range"
    BOMB = "a gzip of zeros as Content-Encoding"
    ENDLESS = "a body that does not end"
    OTHER = "the content of another blob of the repository"
    REDIRECT = "sends to the CDN, with a signed query"
    LOOP = "sends to itself"
    INWARDS = "sends to an address that only the node can reach"
    HEADERS = "headers that do not end"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One thing that goes wrong, with the requests that it concerns.

    Attributes:
        path: what the request's path has to contain.
        method: empty for any.
        times: how often; 0 for always.
        skip: how many requests that it concerns are answered right before.
        chance: of each request, between 0 and 1.
        after: bytes of the body before a cut or a stall.
        amount: a status, or bytes a second, or bytes by which a range is shifted or a length lies.
        seconds: how long a stall takes, or Retry-After.
        target: where `INWARDS` sends to.
        only_ranges: answers to requests with a Range only.
    """

    wrong: Wrong
    path: str = "/blobs/"
    method: str = "GET"
    times: int = 0
    skip: int = 0
    chance: float = 1.0
    after: int = 0
    amount: int = 0
    seconds: float = 0.0
    target: str = ""
    only_ranges: bool = False


def write_faults(folder: Path, faults: Sequence[Fault]) -> None:
    """From the next request on, these and no others."""
    new = folder / f".{FAULTS}"
    new.write_text(json.dumps([asdict(fault) for fault in faults]))
    new.replace(folder / FAULTS)


def read_faults(folder: Path) -> list[Fault]:
    return [Fault(**{**item, "wrong": Wrong(item["wrong"])}) for item in json.loads((folder / FAULTS).read_text())]


PASSING: Final = {
    "a storm of 503": Fault(wrong=Wrong.STATUS, amount=503, chance=0.4),
    "a storm of 429": Fault(wrong=Wrong.STATUS, amount=429, seconds=1, times=3),
    "hanging up": Fault(wrong=Wrong.DROP, chance=0.4),
    "cut at once": Fault(wrong=Wrong.CUT, after=0, chance=0.4),
    "cut in the middle": Fault(wrong=Wrong.CUT, after=3 * _MIB + 17, chance=0.4),
    "one straggler": Fault(wrong=Wrong.SLOW, amount=20_000, times=1),
    "one that stalls": Fault(wrong=Wrong.STALL, after=_MIB, seconds=600, times=1),
    "redirects": Fault(wrong=Wrong.REDIRECT),
    "ranges unknown": Fault(wrong=Wrong.WHOLE, only_ranges=True),
    "another range, honestly": Fault(wrong=Wrong.SHIFTED, amount=4096, times=2, only_ranges=True),
    "too short": Fault(wrong=Wrong.SHORT, amount=1000, times=2),
    "too long": Fault(wrong=Wrong.LONG, amount=1000, times=2),
}
"""What a client must not notice, except by the time that it takes."""
