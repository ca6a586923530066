"""Regular expressions of policies: Go's syntax, in time linear in the input whatever the expression.

Python's own engine backtracks: `(a+)+$` takes hours over forty characters of a forged identity. RE2 is what Go's
`regexp` derives from, so that an expression means here what it means to policy-controller.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from modelcar.errors import UsageError

__all__ = ["Regex"]

_MAX_PATTERN: Final = 4096  # characters
_MAX_INPUT: Final = 8192  # characters; a subject is a URL or an address
_MAX_MEMORY: Final = 1 << 20  # bytes for a compiled expression


@dataclass(frozen=True)
class Regex:
    """An expression that has to match the whole of a text.

    policy-controller is content with a part, so that `https://github.com/org/` lets `https://evil.example/?https://
    github.com/org/` pass. Here that is no match, and the reason says so.

    Raises:
        UsageError: RE2 does not know it, or it is too large.
    """

    pattern: str

    def __post_init__(self) -> None:
        if len(self.pattern) > _MAX_PATTERN:
            raise UsageError(f"a regular expression has more than {_MAX_PATTERN} characters")
        if any("\ud800" <= character <= "\udfff" for character in self.pattern):
            raise UsageError(f"{self.pattern[:80]!r} is not a regular expression: it is not valid UTF-8")
        _ = self._compiled

    def matches(self, text: str) -> bool:
        return len(text) <= _MAX_INPUT and self._compiled.fullmatch(text) is not None

    def occurs_in(self, text: str) -> bool:
        """Whether a part of `text` would match: only to explain a no."""
        return len(text) <= _MAX_INPUT and self._compiled.search(text) is not None

    @cached_property
    def _compiled(self) -> Any:
        re2 = _re2()
        options = re2.Options()
        options.max_mem = _MAX_MEMORY
        options.log_errors = False
        try:
            return re2.compile(self.pattern, options=options)
        except re2.error as e:
            problem = e.args[0] if e.args else "not understood"
            text = problem.decode(errors="replace") if isinstance(problem, bytes) else str(problem)
            raise UsageError(f"{self.pattern[:80]!r} is not a regular expression: {text}") from None


def _re2() -> Any:
    try:
        import re2
    except ImportError:
        raise UsageError(
            "regular expressions of identities need google-re2, which is not installed",
            hint="pip install 'modelcar[keyless]', or name issuer and subject literally",
        ) from None
    return re2
