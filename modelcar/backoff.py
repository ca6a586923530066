"""How long to leave alone who has just failed, or asks for it."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

__all__ = ["Backoff", "retry_after"]

_DOUBLINGS = 60  # beyond any limit in seconds, and within what a float holds


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds of rest that double with each failure in a row: `first`, twice that, …, `longest`.

    Args:
        spread: by which part a rest is longer or shorter at random, so that clients which failed together do not
            return together; 0 where nobody else fails at the same time.
    """

    first: float
    longest: float
    spread: float = 0.25

    def after(self, failures: int) -> float:
        """The rest after so many failures in a row, of which there is one at least."""
        rest = min(self.first * 2.0 ** min(failures - 1, _DOUBLINGS), self.longest)
        return rest * random.uniform(1 - self.spread, 1 + self.spread)  # noqa: S311  # not a secret


def retry_after(header: str | None) -> float:
    """The seconds that a `Retry-After` header asks for, as a number or as a date; 0 if there is none to understand."""
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    from email.utils import parsedate_to_datetime  # takes longer than all of the above

    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return 0.0
    return max(0.0, moment.timestamp() - time.time())
