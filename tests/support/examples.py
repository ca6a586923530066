"""With how many made-up examples a property is tried: a part of them in `make test`, all in `make properties`."""

from __future__ import annotations

import os
from typing import Final

from hypothesis import HealthCheck, settings

__all__ = ["examples", "use_profile"]

_ALL: Final = os.environ.get("MODELCAR_EXAMPLES") == "all"
_FEWER: Final = 4  # times fewer, unless all are asked for
_LEAST: Final = 25
# What takes long on a machine that has other work is no defect, be it an example or the making of one.
_NEVER_WRONG: Final = (HealthCheck.too_slow,)


def use_profile() -> None:
    """Let Hypothesis make the same examples in every run, unless all are asked for: then others each time."""
    settings.register_profile(
        "modelcar",
        max_examples=_tried(100),
        deadline=None,
        derandomize=not _ALL,
        suppress_health_check=_NEVER_WRONG,
        print_blob=True,
    )
    settings.load_profile("modelcar")


def examples(count: int, *allowed: HealthCheck) -> settings:
    """`count` examples where all are asked for; in other runs a part of them. `allowed` are checks to leave out."""
    return settings(max_examples=_tried(count), suppress_health_check=[*_NEVER_WRONG, *allowed])


def _tried(count: int) -> int:
    return count if _ALL else min(count, max(_LEAST, count // _FEWER))
