"""Files that are pickles: by their content, or by a name that makes a loader take them for one."""

from __future__ import annotations

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


def _matches(probe: Probe) -> bool:
    """By its name only if nothing says that it is something else, of which no loader of pickles would make one."""
    signature = detect_format("", probe.head, probe.size)
    if signature not in (None, "pickle") or any(other.matches(probe) for other in compressed.FORMATS):
        return is_pickle(probe.content)
    return detect_format(probe.name, probe.head, probe.size) == "pickle" or is_pickle(probe.content)


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
            return  # the bytes from there on remain unaccounted for
    raise LimitExceeded(f"there are more than {_MOST_STREAMS} pickles one behind the other")


FORMATS: Final = (Format(name="pickle", matches=_matches, scan=_scan), *compressed.FORMATS)
RULES: Final = rules.RULES
