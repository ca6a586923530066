"""Archives and compressed files that are recognised and not opened: nothing in the standard library reads them."""

from __future__ import annotations

import re
from functools import partial
from typing import Final

from modelcar.scanning.filescan import FileScan, Format, Probe
from modelcar.scanning.findings import Rule, Severity

__all__ = ["FORMATS", "RULES"]

NOT_OPENED: Final = Rule(
    id="archive.not-opened",
    severity=Severity.UNVERIFIED,
    title="an archive that is not opened here",
    why="Malware has been published in such archives because scanners do not look into them.",
    fix="Unpack it and scan the files; ship the files themselves, or a zip or tar of them.",
)
RULES: Final = (NOT_OPENED,)
# What a file of the kind begins with; with an offset where that is not its first byte.
_SIGNATURES: Final[dict[str, tuple[tuple[int, bytes], ...]]] = {
    "7z": ((0, rb"7z\xbc\xaf\x27\x1c"),),
    "rar": ((0, rb"Rar!\x1a\x07"),),
    "zstd": ((0, rb"[\x22-\x28]\xb5\x2f\xfd"), (0, rb"[\x50-\x5f]\x2a\x4d\x18")),
    "lz4": ((0, rb"\x04\x22\x4d\x18"), (0, rb"\x02\x21\x4c\x18")),
    "snappy": ((0, rb"\xff\x06\x00\x00sNaPpY"),),
    "zfile": ((0, rb"ZF0x[0-9a-f]"),),
    "compress": ((0, rb"\x1f[\x9d\xa0]"),),
    "lzip": ((0, rb"LZIP[\x00\x01]"),),
    "lzop": ((0, rb"\x89LZO\x00\r\n\x1a\n"),),
    "lha": ((2, rb"-l[hz][0-9ds]-"),),
    "arj": ((0, rb"\x60\xea.[\x00-\x0a]"),),
    "cab": ((0, rb"MSCF\x00{4}"),),
    "wim": ((0, rb"MSWIM\x00{3}"),),
    "xar": ((0, rb"xar!\x00"),),
    "ar": ((0, rb"!<(?:arch|thin)>\n"),),
    "cpio": ((0, rb"07070[12][0-9A-Fa-f]{24}"), (0, rb"070707[0-7]{24}"), (0, rb"\xc7\x71|\x71\xc7")),
    "rpm": ((0, rb"\xed\xab\xee\xdb"),),
    "squashfs": ((0, rb"hsqs|sqsh"),),
    "cramfs": ((0, rb"\x45\x3d\xcd\x28|\x28\xcd\x3d\x45"),),
    "erofs": ((1024, rb"\xe2\xe1\xf5\xe0"),),
    "iso9660": ((32769, rb"CD001"),),
}
_LONGEST: Final = 32  # bytes of a signature


def _matches(probe: Probe, signatures: tuple[tuple[int, re.Pattern[bytes]], ...]) -> bool:
    return any(
        pattern.match(probe.head[offset : offset + _LONGEST] if offset < 4000 else probe.content.read(offset, _LONGEST))
        for offset, pattern in signatures
        if probe.size > offset
    )


def _scan(scan: FileScan, kind: str) -> None:
    scan.account_for_all()
    scan.found(NOT_OPENED, kind)


FORMATS: Final = tuple(
    Format(
        name=kind,
        matches=partial(
            _matches, signatures=tuple((offset, re.compile(pattern, re.DOTALL)) for offset, pattern in signatures)
        ),
        scan=partial(_scan, kind=kind),
    )
    for kind, signatures in _SIGNATURES.items()
)
