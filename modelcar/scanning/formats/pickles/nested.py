"""Constants inside a pickle that are pickles themselves."""

from __future__ import annotations

from typing import Final

from modelcar.scanning.content import Content, literal
from modelcar.scanning.filescan import FileScan
from modelcar.scanning.formats.pickles.machine import Machine
from modelcar.scanning.formats.pickles.probe import is_pickle
from modelcar.scanning.formats.pickles.rules import UNUSUAL_CALL
from modelcar.scanning.formats.pickles.values import Blob, Global, Instance, Kind, Value, constant

__all__ = ["scan_nested"]

_LONGEST_TEXT: Final = 64 << 20  # bytes of a text that stands for bytes, up to protocol 2


def scan_nested(scan: FileScan, machine: Machine) -> None:
    """Scan what loading the stream would load in its turn, and what looks like a pickle."""
    done: set[object] = set()
    for value in machine.loaded:
        if _is_new(value, done):
            content = _content(scan, value)
            if content is None:
                scan.found(UNUSUAL_CALL, "it loads bytes that cannot be looked at")
            else:
                scan.scan_member(_name(value), content)
    for value in machine.nested:
        if _is_new(value, done):
            scan.budget.check_time()
            content = _content(scan, value)
            if content is not None and is_pickle(content, sure=True):
                scan.scan_member(_name(value), content)


def _is_new(value: Value, done: set[object]) -> bool:
    key = value if isinstance(value, (bytes, str)) else id(value)
    if key in done:
        return False
    done.add(key)
    return True


def _name(value: Value) -> str:
    return f"bytes at {value.start}" if isinstance(value, Blob) else "bytes"


def _content(scan: FileScan, value: Value) -> Content | None:
    """The bytes that a value stands for; `None` if they cannot be known."""
    if isinstance(value, Blob):
        if value.kind in (Kind.BYTES, Kind.BYTEARRAY):
            return scan.content.part(value.start, value.size)
        if value.kind is Kind.TEXT and value.size <= _LONGEST_TEXT:
            return _latin1(scan.read(value.start, value.size).decode("utf-8", "replace"))
        return None
    if isinstance(value, Instance):
        is_encode = isinstance(value.of, Global) and str(value.of) == "_codecs.encode"
        return _content(scan, value.args[0]) if is_encode and value.args else None
    known = constant(value)
    if isinstance(known, str):
        return _latin1(known)
    return literal(known) if isinstance(known, bytes) else None


def _latin1(text: str) -> Content | None:
    try:
        return literal(text.encode("latin-1"))
    except UnicodeEncodeError:
        return None
