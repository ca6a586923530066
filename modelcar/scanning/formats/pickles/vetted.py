"""The globals that a pickle may use.

Each was checked in the source of its library: it calls nothing that its arguments choose, and reads, writes and starts
nothing, as long as it gets arguments of the kinds that are asked for.
"""

from __future__ import annotations

from typing import Final

from modelcar.scanning.formats.pickles.plain import Plain
from modelcar.scanning.formats.pickles.values import Global, Value
from modelcar.scanning.formats.pickles.vetted_numpy import NUMPY
from modelcar.scanning.formats.pickles.vetted_python import PYTHON
from modelcar.scanning.formats.pickles.vetted_torch import TORCH

__all__ = ["VETTED", "vetted"]

VETTED: Final[dict[tuple[str, str], Plain]] = {**PYTHON, **NUMPY, **TORCH}


def vetted(value: Value) -> Plain | None:
    """What may be done with it; `None` unless it is a global that is vetted."""
    return VETTED.get((value.module, value.name)) if isinstance(value, Global) else None
