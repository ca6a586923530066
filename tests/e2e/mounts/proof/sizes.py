"""How much of everything: little for `make test`, thousands of runs for `make soak`."""

from __future__ import annotations

import os
from typing import Final

__all__ = ["RUNS", "SEED"]

RUNS: Final = int(os.environ.get("LAZY_PROOF_RUNS", "8"))
"""Of each randomised test, for each way to mount."""

SEED: Final = int(os.environ.get("LAZY_PROOF_SEED", "1"))
"""Of the first run; run n has SEED + n, which the failure names."""
