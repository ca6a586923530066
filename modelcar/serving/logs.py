"""The log: a line for each thing that happened, for people or for programs.

What goes into a line is chosen name by name, so that no header, query or token gets there by accident; and whatever a
client made up stays within its line.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import IO, Any, Final

from modelcar.exchanges import tell_of_libraries
from modelcar.serving.settings import Level, LogFormat, LogSettings

__all__ = ["FIELDS", "OURS", "configure", "formatter"]

FIELDS: Final = (
    "client",
    "subject",
    "operation",
    "kind",
    "namespace",
    "object",
    "uid",
    "decision",
    "method",
    "route",
    "registry",
    "repository",
    "digest",
    "status",
    "sent",
    "bytes",
    "seconds",
    "cache",
    "upstream",
    "peer",
    "mirror",
    "complete",
    "trace",
)
"""What a record may carry beside its message; anything else is left out."""

OURS: Final = ("modelcar", "registry_shim")
"""What of the log is our own: libraries log only what they warn of."""

_CREDENTIAL: Final = re.compile(
    r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"  # a header's value
    r"|(?<=://)[^/\s@:]+:[^/\s@]+(?=@)"  # user:password in a URL
    r"|(?<=\?)[^\s'\"]+"  # a query: signed URLs of CDNs
)
_PLAIN_WORD: Final = re.compile(r"[A-Za-z0-9_./:@%+-]+")


def configure(program: str, settings: LogSettings, stream: IO[str] | None = None) -> None:
    """Write the log of this process to `stream` (standard error), in place of whatever was set up before."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(formatter(program, settings.format))
    root = logging.getLogger()
    for old in list(root.handlers):
        if isinstance(old, logging.StreamHandler):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    for name in OURS:
        logging.getLogger(name).setLevel(settings.level.value.upper())
    tell_of_libraries(wanted=settings.level is Level.DEBUG)


def formatter(program: str, format_: LogFormat) -> logging.Formatter:
    if format_ is LogFormat.PLAIN:
        return _Plain(program)
    return _Json() if format_ is LogFormat.JSON else _Logfmt()


class _Plain(logging.Formatter):
    """For people: never a traceback, and nothing that moves the cursor."""

    def __init__(self, program: str) -> None:
        super().__init__()
        self._program = program

    def format(self, record: logging.LogRecord) -> str:
        words = [f"{name}={_logfmt(value)}" for name, value in _fields(record).items()]
        return " ".join([f"{self._program}:", _message(record), *words])


class _Json(logging.Formatter):
    """A JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        document = {
            "time": _when(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
            **_fields(record),
        }
        return json.dumps(document, separators=(",", ":"))


class _Logfmt(logging.Formatter):
    """`name=value` words."""

    def format(self, record: logging.LogRecord) -> str:
        words = {"time": _when(record), "level": record.levelname.lower(), "message": _message(record)}
        return " ".join(f"{name}={_logfmt(value)}" for name, value in (words | _fields(record)).items())


def _message(record: logging.LogRecord) -> str:
    error = record.exc_info[1] if record.exc_info else None
    text = record.getMessage() + (f": {type(error).__name__}: {error}" if error else "")
    return _clean(_CREDENTIAL.sub("[redacted]", text))


def _clean(text: str) -> str:
    """On one line, with nothing that a terminal obeys."""
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in line)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    found = {name: getattr(record, name) for name in FIELDS if getattr(record, name, None) is not None}
    return {name: _clean(value) if isinstance(value, str) else value for name, value in found.items()}


def _logfmt(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    return text if _PLAIN_WORD.fullmatch(text) else json.dumps(text)


def _when(record: logging.LogRecord) -> str:
    when = datetime.fromtimestamp(record.created, UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
