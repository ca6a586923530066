"""How much of everything: small for `make test`, the issue's figures for `make soak`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Final

import pytest

__all__ = ["CLIENTS", "CROWD_BLOB", "IDLE", "IN_FLIGHT", "KILLS", "MIB", "SEED", "mostly_soak"]

MIB: Final = 1 << 20


def _number(name: str, default: int) -> int:
    return int(os.environ.get(f"SHIM_PROOF_{name}", default))


CLIENTS: Final = 32
CROWD_BLOB: Final = _number("MIB", 64) * MIB
KILLS: Final = _number("KILLS", 10)
IDLE: Final = _number("IDLE", 2000)
SEED: Final = _number("SEED", 1)
"""Of the first run; run n has SEED + n, which the failure names."""

IN_FLIGHT: Final = 48 * MIB
"""What a shim that is killed may have to fetch again: the chunks that it was receiving at that moment."""


def mostly_soak(names: Iterable[Any], *quick: Any) -> list[Any]:
    """Parameters of a test, of which only some are for the quick tier."""
    return [pytest.param(name, marks=() if name in quick else pytest.mark.soak) for name in names]
