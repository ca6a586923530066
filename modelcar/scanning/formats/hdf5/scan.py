"""An HDF5 file: what its root leads to, every byte accounted for, and configurations wherever they stand."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Final

from modelcar.scanning.dispatch import LIMIT
from modelcar.scanning.filescan import FileScan, Format, Malformed, Probe
from modelcar.scanning.findings import Rule
from modelcar.scanning.formats.hdf5 import rules
from modelcar.scanning.formats.hdf5.rules import NotRead
from modelcar.scanning.formats.hdf5.superblock import find_superblock, open_root
from modelcar.scanning.formats.hdf5.walk import Walk
from modelcar.scanning.formats.jsons import read_json
from modelcar.scanning.formats.tars.entries import BLOCK, is_header

__all__ = ["FORMATS", "RULES"]

_CONFIG: Final = re.compile(rb'\{\s{0,20}"(?:class_name|module|config|name|registered_name|loss|optimizer_config)"')
_ENDINGS: Final = (".h5", ".hdf5", ".hdf", ".he5", ".h5ad", ".loom", ".mat", ".nc")  # of what the library is given
_PIECE: Final = 1 << 20
_OVERLAP: Final = 256
_LONGEST: Final = 16 << 20  # bytes of a configuration
_MOST: Final = 64  # configurations


def _matches(probe: Probe) -> bool:
    """By a signature where the library looks for one; within an archive, if it is called one, it is a member's."""
    start = find_superblock(probe.content)
    if start is None or start == 0 or probe.name.endswith(_ENDINGS):
        return start is not None
    return not probe.head.startswith(b"PK") and not is_header(probe.head[:BLOCK])


def _scan(scan: FileScan) -> None:
    try:
        file, root = open_root(scan, find_superblock(scan.content) or 0)
    except NotRead as e:
        scan.found(rules.NOT_READ, str(e), offset=e.offset)
        _search(scan)
        scan.account_for_all()
        return
    except Malformed:
        _search(scan)
        raise
    walk = Walk(file, lambda offset, text: _look_at(scan, offset, text))
    walk.run(root)
    if walk.is_partial or walk.problem:
        _search(scan)
        scan.account_for_all()  # it has been said already that not everything was understood
    if walk.problem:
        raise walk.problem
    _account_for_zeros(scan)


def _account_for_zeros(scan: FileScan) -> None:
    """Room that was never used."""
    for start, stop in list(scan.gaps()):
        if not any(any(piece) for piece in scan.content.pieces(start, stop - start)):
            scan.account(start, stop - start)


def _look_at(scan: FileScan, offset: int, text: bytes) -> None:
    """Look for what a configuration asks Keras to do; what is not JSON is not one."""
    text = text.strip(b"\0 \t\r\n")
    if text.startswith((b"{", b"[")):
        with suppress(Malformed):
            read_json(scan, text, offset)


def _search(scan: FileScan) -> None:
    """Look for configurations in a file that is not understood, wherever one may begin."""
    found, at = 0, 0
    while at < scan.size:
        scan.budget.check_time()
        piece = scan.content.read(at, _PIECE + _OVERLAP)
        match = _CONFIG.search(piece)
        if match is None or match.start() >= _PIECE:
            at += _PIECE
            continue
        found += 1
        if found > _MOST:
            scan.found(LIMIT, f"it may hold more than {_MOST} configurations")
            return
        at += match.start()
        at += _look_from(scan, at)


def _look_from(scan: FileScan, at: int) -> int:
    """Look at the object that begins at `at`; returns how long it is, at least 1."""
    text = scan.content.read(at, _LONGEST)
    decoded = text.decode("utf-8", errors="replace")
    try:
        _, length = json.JSONDecoder().raw_decode(decoded)
    except (ValueError, RecursionError):
        return 1
    size = len(decoded[:length].encode())
    _look_at(scan, at, text[:size])
    return max(size, 1)


FORMATS: Final = (Format(name="hdf5", matches=_matches, scan=_scan),)
RULES: Final[tuple[Rule, ...]] = rules.RULES
