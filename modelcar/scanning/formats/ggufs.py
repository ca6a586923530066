"""GGUF: metadata with templates in it, then tensors with at most an alignment's zeros between them."""

from __future__ import annotations

from typing import Final

from modelcar.checkpoint.formats.gguf import MAGIC, read_gguf
from modelcar.scanning.filescan import FileScan, Format, Probe
from modelcar.scanning.findings import Rule
from modelcar.scanning.formats.templates import report_template
from modelcar.scanning.secrets import report_secrets_in_pieces

__all__ = ["FORMATS", "RULES"]

_MAX_PADDING: Final = 1 << 20  # bytes; the largest alignment that the reader takes


def _matches(probe: Probe) -> bool:
    return probe.head.startswith(MAGIC) or probe.name.endswith(".gguf")


def _scan(scan: FileScan) -> None:
    header = read_gguf(scan.content.read, scan.size, scan.path)
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


def _account_for_zeros(scan: FileScan, start: int, stop: int) -> None:
    if start < stop <= start + _MAX_PADDING and not any(scan.content.read(start, stop - start)):
        scan.account(start, stop - start)


FORMATS: Final = (Format(name="gguf", matches=_matches, scan=_scan),)
RULES: Final[tuple[Rule, ...]] = ()
