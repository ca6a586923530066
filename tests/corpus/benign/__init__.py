"""The benign specimens: what scanners must leave alone, and what they may only say that they cannot judge."""

from __future__ import annotations

from tests.corpus.benign import made, templates, texts
from tests.corpus.specimen import Specimen

__all__ = ["benign"]


def benign() -> list[Specimen]:
    """Every benign specimen that needs no network; `tests.corpus.real` has models that do."""
    return [specimen for module in (made, templates, texts) for specimen in module.specimens()]
