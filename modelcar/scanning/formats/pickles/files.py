"""Files that are pickles: by their content, or by a name that makes a loader take them for one."""

from __future__ import annotations

import re
from contextlib import suppress
from itertools import islice
from typing import Final

from modelcar.checkpoint.formats.sniff import detect_format
from modelcar.scanning.filescan import FileScan, Format, Malformed, Probe
from modelcar.scanning.formats.pickles import compressed, rules
from modelcar.scanning.formats.pickles.probe import is_pickle
from modelcar.scanning.formats.pickles.torch_legacy import is_legacy_torch, scan_legacy_torch
from modelcar.scanning.formats.pickles.torch_storages import storages
from modelcar.scanning.formats.pickles.walk import walk
from modelcar.scanning.limits import LimitExceeded

__all__ = ["FORMATS", "RULES"]

_MOST_STREAMS: Final = 10_000
_TAIL: Final = 1 << 20  # bytes
_MOST_STARTS: Final = 16
_PROTO: Final = re.compile(rb"\x80[\x02-\x05]")


def _matches(probe: Probe) -> bool:
    """By its name only if nothing says that it is something else, of which no loader of pickles would make one."""
    signature = detect_format("", probe.head, probe.size)
    if signature not in (None, "pickle") or any(other.matches(probe) for other in compressed.FORMATS):
        return is_pickle(probe.content)
    return detect_format(probe.name, b"", 0) == "pickle" or is_pickle(probe.content)


def _scan(scan: FileScan) -> None:
    """One stream after the other, as loaders read them."""
    if not scan.size:
        raise Malformed("it is empty", 0)
    walked = walk(scan)
    if is_legacy_torch(walked):
        scan_legacy_torch(scan, walked)
        return
    memo = walked.memo
    for _ in range(_MOST_STREAMS):
        storages(scan, walked)  # they may lie beside it, in an archive
        if walked.end >= scan.size:
            return
        try:
            walked = walk(scan, walked.end, memo=memo)
        except Malformed:
            _look_behind(scan, walked.end)
            return
    raise LimitExceeded(f"there are more than {_MOST_STREAMS} pickles one behind the other")


def _look_behind(scan: FileScan, end: int) -> None:
    """Bytes behind the last stream stay unaccounted for; a pickle among them is reported for what it is."""
    tail = scan.content.read(end, _TAIL)
    padded = len(tail) - len(tail.lstrip(b"\0"))
    starts = {padded, *(match.start() for match in islice(_PROTO.finditer(tail), _MOST_STARTS))}
    for start in sorted(starts):
        part = scan.content.part(end + start, scan.size - end - start)
        if part.size and is_pickle(part, sure=True):
            with suppress(Malformed):
                walk(scan.again(), end + start)


FORMATS: Final = (Format(name="pickle", matches=_matches, scan=_scan), *compressed.FORMATS)
RULES: Final = rules.RULES
