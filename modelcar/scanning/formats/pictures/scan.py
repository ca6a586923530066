"""Which picture a file is, by its content; the name only says that it should be one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from modelcar.scanning.filescan import FileScan, Format, Malformed, Probe
from modelcar.scanning.findings import Rule
from modelcar.scanning.formats.pictures import gif, jpeg, png, svg, webp
from modelcar.scanning.limits import LimitExceeded

__all__ = ["FORMATS", "RULES"]

_ENDINGS: Final = (".gif", ".jpeg", ".jpg", ".png", ".webp")
_KINDS: Final[tuple[tuple[Callable[[bytes], bool], Callable[[FileScan, bytes], None]], ...]] = (
    (png.begins, png.scan),
    (jpeg.begins, jpeg.scan),
    (gif.begins, gif.scan),
    (webp.begins, webp.scan),
)
_LARGEST: Final = 128 << 20  # bytes


def _matches(probe: Probe) -> bool:
    # A picture under the name of another kind is no worse: whatever shows it looks at the content.
    return probe.name.endswith(_ENDINGS) or any(begins(probe.head) for begins, _ in _KINDS)


def _scan(scan: FileScan) -> None:
    if scan.size > _LARGEST:
        raise LimitExceeded(f"a picture of {scan.size} bytes; the limit is {_LARGEST}")
    data = scan.read_all()
    for begins, scan_kind in _KINDS:
        if begins(data):
            scan_kind(scan, data)
            return
    raise Malformed("it is no picture of a kind that is known")


FORMATS: Final = (
    Format(name="picture", matches=_matches, scan=_scan),
    Format(name="svg", matches=svg.matches, scan=svg.scan),
)
RULES: Final[tuple[Rule, ...]] = svg.RULES
