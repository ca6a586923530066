"""safetensors: a header that is read strictly, and numbers to the end of the file."""

from __future__ import annotations

from typing import Final

from modelcar.checkpoint.formats.safetensors import DTYPE_BITS, read_safetensors
from modelcar.checkpoint.formats.sniff import looks_like_safetensors
from modelcar.scanning.filescan import FileScan, Format, Probe
from modelcar.scanning.findings import Rule, Severity, shown
from modelcar.scanning.secrets import report_secrets, report_secrets_in_pieces

__all__ = ["FORMATS", "RULES"]

MISALIGNED: Final = Rule(
    id="safetensors.misaligned",
    severity=Severity.NOTE,
    title="tensors do not start at a multiple of their element size",
    why="The format allows it, but such tensors cannot be mapped in place by every loader.",
    fix="Save the file anew with a recent safetensors library.",
)
_ESCAPES: Final = (b"\\u", b"\\/")  # of JSON, behind which a text may look like none


def _matches(probe: Probe) -> bool:
    return probe.name.endswith(".safetensors") or looks_like_safetensors(probe.head, probe.size)


def _scan(scan: FileScan) -> None:
    header = read_safetensors(scan.content.read, scan.size, scan.path)
    scan.account(0, header.size)
    report_secrets_in_pieces(scan, scan.content.pieces(0, header.size))
    if any(mark in piece for piece in scan.content.pieces(0, header.size) for mark in _ESCAPES):
        report_secrets(scan, "\n".join(header.metadata.values()).encode(), None)
    for tensor in header.tensors:
        scan.account(tensor.offset, tensor.size)
    for tensor in header.tensors:
        width = DTYPE_BITS[tensor.dtype] // 8
        if width > 1 and tensor.offset % width:
            scan.found(MISALIGNED, f"{shown(tensor.name)} at byte {tensor.offset}", offset=tensor.offset)
            break


FORMATS: Final = (Format(name="safetensors", matches=_matches, scan=_scan),)
RULES: Final = (MISALIGNED,)
