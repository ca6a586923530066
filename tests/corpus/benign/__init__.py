"""The benign specimens."""

from __future__ import annotations

from tests.corpus.specimen import Specimen

__all__ = ["benign"]


def benign() -> list[Specimen]:
    """Every benign specimen that needs no network."""
    return []
