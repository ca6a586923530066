"""How the cache behaves: what a person or configuration may choose."""

from __future__ import annotations

from dataclasses import dataclass

from modelcar.errors import UsageError

__all__ = ["CacheSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """Times are seconds, rates bytes a second.

    Attributes:
        linger: how long a blob goes on arriving after everyone who asked for it has left; `None` is to its end.
        mismatch_pause: how long a blob is refused after its upstream has sent other content twice in a row.
        scrub_rate: how fast whole blobs are read again to find what the disk has damaged; 0 turns that off.
        scrub_interval: how long after one walk over all blobs has begun the next one begins, at the earliest.
    """

    linger: float | None = None
    mismatch_pause: float = 300.0
    scrub_rate: float = 20 << 20
    scrub_interval: float = 7 * 86400.0

    def __post_init__(self) -> None:
        for name in ("linger", "mismatch_pause", "scrub_rate", "scrub_interval"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise UsageError(f"{name} must not be negative")
