"""Who may administer a node from elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["AdminSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminSettings:
    """The administration API. On the node itself it is always there, at `control.sock` in `root`, for its owner."""

    tokens_file: Path | None = None
    """A name, a colon and a token of 16 characters or more a line: who may ask for pre-caching at `listen`. Without it
    nobody may from there."""
