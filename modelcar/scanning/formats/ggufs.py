"""GGUF: metadata with templates in it, then tensors with at most an alignment's zeros between them."""

from __future__ import annotations

import re
import struct
from itertools import islice
from typing import Final

from modelcar.checkpoint.formats.gguf import MAGIC, read_gguf
from modelcar.errors import MalformedFile
from modelcar.scanning.filescan import FileScan, Format, Probe
from modelcar.scanning.findings import Rule
from modelcar.scanning.formats.templates import report_template
from modelcar.scanning.secrets import report_secrets_in_pieces
from modelcar.scanning.templates import MAX_TEMPLATE

__all__ = ["FORMATS", "RULES"]

_MAX_PADDING: Final = 1 << 20  # bytes; the largest alignment that the reader takes
_SEARCHED: Final = 16 << 20  # bytes of a broken file
_MOST_TEMPLATES: Final = 50
_TEMPLATE: Final = re.compile(
    rb"chat_template[A-Za-z0-9_.-]{0,64}\x08\0\0\0(.{8})", re.DOTALL
)  # a text, and its length


def _matches(probe: Probe) -> bool:
    return probe.head.startswith(MAGIC) or probe.name.endswith(".gguf")


def _scan(scan: FileScan) -> None:
    try:
        header = read_gguf(scan.content.read, scan.size, scan.path)
    except MalformedFile:
        _look_for_templates(scan)
        raise
    end = header.size - header.padding
    scan.account(0, end)
    report_secrets_in_pieces(scan, scan.content.pieces(0, end))
    for key, value in header.metadata.items():
        if "chat_template" in key:
            for source in value if isinstance(value, tuple) else (value,):
                if isinstance(source, str):
                    report_template(scan, source, key)
    for tensor in header.tensors:
        _account_for_zeros(scan, end, tensor.offset)
        scan.account(tensor.offset, tensor.size)
        end = tensor.offset + tensor.size
    _account_for_zeros(scan, end, scan.size)


def _look_for_templates(scan: FileScan) -> None:
    """In a file that a strict reader refuses, and a lax one may not."""
    data = scan.content.read(0, min(scan.size, _SEARCHED))
    for match in islice(_TEMPLATE.finditer(data), _MOST_TEMPLATES):
        (size,) = struct.unpack("<Q", match[1])
        source = data[match.end() : match.end() + min(size, MAX_TEMPLATE)].decode(errors="replace")
        report_template(scan, source, attacks_only=True)


def _account_for_zeros(scan: FileScan, start: int, stop: int) -> None:
    if start < stop <= start + _MAX_PADDING and not any(scan.content.read(start, stop - start)):
        scan.account(start, stop - start)


FORMATS: Final = (Format(name="gguf", matches=_matches, scan=_scan),)
RULES: Final[tuple[Rule, ...]] = ()
