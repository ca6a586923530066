"""safetensors: a header that is read strictly, and numbers to the end of the file."""

from __future__ import annotations

from typing import Final

from modelcar.checkpoint.formats.safetensors import DTYPE_BITS, read_safetensors
from modelcar.checkpoint.formats.sniff import looks_like_safetensors
from modelcar.scanning.filescan import FileScan, Format, Probe
from modelcar.scanning.findings import Rule, Severity, shown
from modelcar.scanning.secrets import report_secrets, report_secrets_in_pieces

__all__ = ["FORMATS", "RULES"]

UNALIGNED_DATA: Final = Rule(
    id="safetensors.unaligned-data",
    severity=Severity.NOTE,
    title="the data begins at an odd place",
    why="The format allows it and old libraries wrote it, but not every loader can map such tensors in place.",
    fix="Save the file anew with a recent safetensors library.",
)
MISALIGNED: Final = Rule(
    id="safetensors.misaligned-tensor",
    severity=Severity.UNVERIFIED,
    title="a tensor does not start at a multiple of its element size within the data",
    why="Libraries put wide elements first, so this file was put together by other means, and loaders differ about it.",
    fix="Save the file anew with a recent safetensors library.",
)
_ALIGNMENT: Final = 8  # bytes, to which libraries pad the header since 2023
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
        if width > 1 and (tensor.offset - header.size) % width:
            scan.found(MISALIGNED, f"{shown(tensor.name)} at byte {tensor.offset}", offset=tensor.offset)
            break
    if header.tensors and header.size % _ALIGNMENT:
        scan.found(UNALIGNED_DATA, f"at byte {header.size}")


FORMATS: Final = (Format(name="safetensors", matches=_matches, scan=_scan),)
RULES: Final = (UNALIGNED_DATA, MISALIGNED)
