"""What makes thousands of tests in one process begin sooner and stay quick; nothing that they can see."""

from __future__ import annotations

import gc
import importlib
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Final

__all__ = ["after_collection", "before_collection", "is_slow"]

_SLOW_MODULE: Final = re.compile(r"^pytestmark = \[?pytest\.mark\.slow\b", re.MULTILINE)
_SELDOM: Final = (20_000, 20, 50)
"""Thresholds of the garbage collector; Python's own cost a tenth of the time."""


def is_slow(path: Path) -> bool:
    """Whether all tests of a file are slow. It need not be imported where they are left out."""
    return path.match("test_*.py") and _SLOW_MODULE.search(path.read_text()) is not None


def before_collection() -> None:
    """Collect tests without garbage collection, and without grammars that few of them use."""
    gc.disable()
    if "rfc3987_syntax" not in sys.modules:
        sys.modules["rfc3987_syntax"] = _Grammars("rfc3987_syntax")


def after_collection() -> None:
    """What was made by then stays to the end: no later garbage collection goes through it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_SELDOM)
    gc.enable()


class _Grammars(ModuleType):
    """`rfc3987_syntax`, compiled when it is first asked.

    jsonschema imports it where it is installed (CycloneDX's validator brings it): 38 grammars, which take seconds.
    """

    @staticmethod
    def is_valid_syntax(term: str, value: str) -> bool:
        """Whether `value` is a `term` of RFC 3987, such as an `iri`."""
        if isinstance(sys.modules["rfc3987_syntax"], _Grammars):
            del sys.modules["rfc3987_syntax"]
        return bool(importlib.import_module("rfc3987_syntax").is_valid_syntax(term, value))
