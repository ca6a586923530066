"""How much of the disk the cache may take, and when something has to go."""

from __future__ import annotations

from dataclasses import dataclass

from modelcar.errors import UsageError

__all__ = ["SpaceSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceSettings:
    """Room for the cache. What is pinned, in use or was pushed to this node never goes.

    Raises:
        UsageError: a value that makes no sense.
    """

    budget: int = 0
    """Bytes that the cache may take in all; 0: as many as the disk's watermarks leave."""
    budget_slack: float = 0.05
    """Once the budget is used up, this share of it is freed, so that not every pull has to evict (0 to 0.9)."""
    high_percent: float = 90.0
    """Percent of the file system in use, by whomever, from which on the cache gives room back. A pull may pass it, if
    nothing may go; pre-caching never does."""
    low_percent: float = 80.0
    """Percent of the file system in use down to which it then does."""
    min_free: int = 1 << 30
    """Bytes of the file system that always stay free."""
    grace: float = 300.0
    """Seconds after its last use during which an image stays: between two layers a pull holds none of them."""
    abandoned_after: float = 86400.0
    """Seconds after which what is here of a pull that nobody went on with is removed, full disk or not."""
    interval: float = 30.0
    """Seconds between two looks at the disk."""

    def __post_init__(self) -> None:
        if self.budget < 0 or self.min_free < 0:
            raise UsageError("space: budget and min_free are bytes, 0 or more")
        if not 0 <= self.budget_slack <= 0.9:
            raise UsageError(f"space: budget_slack is a share from 0 to 0.9, not {self.budget_slack}")
        if not 0 < self.low_percent <= self.high_percent <= 100:
            raise UsageError(
                f"space: low_percent ({self.low_percent}) and high_percent ({self.high_percent}) do not fit",
                hint="0 < low_percent <= high_percent <= 100",
            )
        if self.grace < 0 or self.abandoned_after < 0 or self.interval <= 0:
            raise UsageError("space: grace, abandoned_after and interval are seconds, interval more than 0")
