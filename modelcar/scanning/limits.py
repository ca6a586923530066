"""Bounds of a scan: hostile input can slow it down within these, and what exceeds one is unverified."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from modelcar.registry.cancel import current_scope

__all__ = ["Budget", "LimitExceeded", "Limits"]


class LimitExceeded(Exception):
    """`str(e)` names the bound. Caught where the scan of one file ends; never leaves the package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one scan may use.

    Attributes:
        seconds: for each file of the checkpoint, with everything in it.
        piece: bytes that a parser may hold of one file at once.
        depth: archives within archives.
        members: of all archives together.
        expanded: bytes that decompression may yield in all.
        ratio: times the compressed size that it may yield, beyond the first `piece` bytes: of each stream, and of the
            whole file with all archives in archives.
        findings: that are kept of one file; further ones are only counted.
        plugin_memory: bytes of address space that another scanner's process may take.
    """

    seconds: float = 300.0
    piece: int = 256 << 20
    depth: int = 8
    members: int = 100_000
    expanded: int = 64 << 30
    ratio: int = 200
    findings: int = 200
    plugin_memory: int = 4 << 30


@dataclass(slots=True)
class Budget:
    """What is left of the limits for one file of the checkpoint, of `size` bytes, and all that is inside it."""

    limits: Limits = field(default_factory=Limits)
    spool: Path | None = None
    size: int | None = None
    clock: Callable[[], float] = time.monotonic
    _deadline: float = field(init=False)
    _members: int = field(default=0, init=False)
    _expanded: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._deadline = self.clock() + self.limits.seconds

    def check_time(self) -> None:
        """Call it at least once for every 100,000 steps or MiB of work."""
        if (scope := current_scope()) is not None:
            scope.check()  # others of the same scan have failed, or Ctrl-C was pressed
        if self.clock() > self._deadline:
            raise LimitExceeded(f"its scan takes more than {self.limits.seconds:g} seconds")

    def check_piece(self, size: int) -> None:
        """Before `size` bytes are held at once."""
        if size > self.limits.piece:
            raise LimitExceeded(f"a part of {size} bytes has to be read at once; the limit is {self.limits.piece}")

    def enter(self, depth: int) -> None:
        """Before a member of an archive is looked at."""
        self.check_time()
        if depth > self.limits.depth:
            raise LimitExceeded(f"archives are nested more than {self.limits.depth} deep")
        self._members += 1
        if self._members > self.limits.members:
            raise LimitExceeded(f"there are more than {self.limits.members} members in archives")

    def expand(self, produced: int, *, total: int, compressed: int) -> None:
        """After `produced` more bytes came out of `compressed` bytes that have yielded `total` so far."""
        self.check_time()
        self._expanded += produced
        if self._expanded > self.limits.expanded:
            raise LimitExceeded(f"its archives hold more than {self.limits.expanded} bytes")
        if total > self.limits.piece and total > compressed * self.limits.ratio:
            raise LimitExceeded(f"{compressed} compressed bytes yield {total} and more: a decompression bomb")
        if self.size is not None and self._expanded > max(self.limits.piece, self.size * self.limits.ratio):
            raise LimitExceeded(f"its {self.size} bytes yield {self._expanded} and more: a decompression bomb")
