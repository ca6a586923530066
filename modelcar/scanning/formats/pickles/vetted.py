"""The globals that a pickle may use.

Each was checked in the source of its library: it calls nothing that its arguments choose, and reads, writes and starts
nothing, as long as it gets arguments of the kinds that are asked for.
"""

from __future__ import annotations

from typing import Final

from modelcar.scanning.formats.pickles.values import Plain
from modelcar.scanning.formats.pickles.vetted_numpy import NUMPY
from modelcar.scanning.formats.pickles.vetted_python import PYTHON
from modelcar.scanning.formats.pickles.vetted_torch import TORCH

__all__ = ["VETTED"]

VETTED: Final[dict[tuple[str, str], Plain]] = {**PYTHON, **NUMPY, **TORCH}
