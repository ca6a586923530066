"""The names that the holder and the rest of modelcar must agree on."""

from __future__ import annotations

import re
from pathlib import Path

from modelcar import holder


def test_python_and_c_agree() -> None:
    header = (Path(holder.__file__).parent / "src" / "holder.h").read_text()
    names = dict(re.findall(r'#define (INDIRECTION\w*) "([^"]+)"', header))
    assert names["INDIRECTION"] == holder.INDIRECTION
    assert set(names.values()) == holder.RESERVED_NAMES
