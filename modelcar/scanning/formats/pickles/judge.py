"""What importing a global means: vetted, an attack, or unknown."""

from __future__ import annotations

from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from functools import lru_cache

from modelcar.scanning.findings import Rule
from modelcar.scanning.formats.pickles import denied, rules
from modelcar.scanning.formats.pickles.values import Global
from modelcar.scanning.formats.pickles.vetted import VETTED

__all__ = ["JOBLIB_ARRAY", "LOOKUPS", "judge", "python3_name"]

JOBLIB_ARRAY = ("joblib.numpy_pickle", "NumpyArrayWrapper")
_LONGEST_REMEMBERED = 200  # characters
# They are found in honest pickles of whole objects; what they look up decides.
LOOKUPS = {("builtins", "getattr"), ("operator", "attrgetter"), ("_operator", "attrgetter")}


def python3_name(module: str, name: str) -> tuple[str, str]:
    """What an unpickler of Python 3 makes of a name in a stream of protocol 0 to 2."""
    if (module, name) in NAME_MAPPING:
        return NAME_MAPPING[(module, name)]
    return IMPORT_MAPPING.get(module, module), name


def judge(module: str, name: str, *, renames: bool) -> tuple[Global, Rule | None]:
    """The global, under its name of today, and the rule that importing it falls under; `None` if it is vetted.

    `renames`: whether the unpickler renames what Python 2 called otherwise, as it does up to protocol 2.
    """
    if len(module) + len(name) > _LONGEST_REMEMBERED:
        return _judge(module, name, renames)
    return _judged(module, name, renames)


def _judge(module: str, name: str, renames: bool) -> tuple[Global, Rule | None]:
    new = python3_name(module, name)
    key = new if renames else (module, name)
    if denied.is_dangerous(module, name) or denied.is_dangerous(*new):
        return Global(key), rules.DANGEROUS
    if key in VETTED:
        return Global(key, VETTED[key]), None
    if denied.is_embedded_code(key[0]):
        return Global(key), rules.CODE
    return Global(key), rules.NEEDS_JOBLIB if key == JOBLIB_ARRAY else rules.UNKNOWN


_judged = lru_cache(4096)(_judge)
