"""The library `sigstore`: imported late, and its failures in one line."""

from __future__ import annotations

import logging
from importlib.util import find_spec

from modelcar.errors import UsageError

__all__ = ["one_line", "require_sigstore"]

_MAX_LINE = 300  # characters


def require_sigstore() -> None:
    """Call before the first import from `sigstore`.

    Raises:
        UsageError: it is not installed.
    """
    if find_spec("sigstore") is None:
        raise UsageError(
            "keyless signing and verification need the library sigstore", hint="pip install 'modelcar[keyless]'"
        )
    # What it logs is for its own command line; what matters here arrives as an exception.
    logging.getLogger("sigstore").addHandler(logging.NullHandler())


def one_line(error: BaseException) -> str:
    """What `error` says, or what caused it if it says nothing, as one short line."""
    said: BaseException | None = error
    while said is not None and not str(said).strip():
        said = said.__cause__ or said.__context__
    text = " ".join(str(said).split()) if said is not None else type(error).__name__
    text = "".join(c if c.isprintable() else " " for c in text)
    return text if len(text) <= _MAX_LINE else f"{text[: _MAX_LINE - 1]}…"
