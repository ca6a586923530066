"""Other people's text, made fit to be looked at: bounded, nothing invisible, nothing that turns the line around.

Escaping for HTML is the template engine's task; this comes before it.
"""

from __future__ import annotations

import json
from typing import Any, Final

from modelcar.cli.output import printable

__all__ = ["json_text", "shown"]

_LONGEST: Final = 160  # characters; a description may have more
_ESCAPED: Final = {ord(c): f"\\u{ord(c):04x}" for c in "<>&"}


def shown(text: object, longest: int = _LONGEST) -> str:
    """`text` in at most `longest` characters: of more, the middle is left out, as names differ at their ends."""
    text = str(text)
    return _bounded(printable(_bounded(text, longest)), longest)


def _bounded(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    tail = longest // 3
    return f"{text[: longest - tail - 1]}…{text[-tail:]}"


def json_text(value: Any) -> str:
    """JSON for a script element: ASCII, and without the characters with which markup begins or ends."""
    return json.dumps(value, separators=(",", ":")).translate(_ESCAPED)
