"""Machine code and byte code: libraries, programs, compiled Python, whatever they are called."""

from __future__ import annotations

import re
import struct
from typing import Final

from modelcar.scanning.filescan import FileScan, Format, Probe
from modelcar.scanning.findings import Rule, Severity

__all__ = ["FORMATS", "RULES"]

NATIVE: Final = Rule(
    id="code.native-library",
    severity=Severity.UNVERIFIED,
    title="machine code or byte code",
    why="It can do whatever its author wants, and nobody can read it.",
    fix="Leave it out of the image (--exclude), or build it from its source yourself.",
)
RULES: Final = (NATIVE,)

_MAGIC: Final = (
    (b"\x7fELF", "ELF"),
    (b"\xfe\xed\xfa\xce", "Mach-O"),
    (b"\xfe\xed\xfa\xcf", "Mach-O"),
    (b"\xce\xfa\xed\xfe", "Mach-O"),
    (b"\xcf\xfa\xed\xfe", "Mach-O"),
    (b"\xca\xfe\xba\xbe", "Mach-O or Java"),
    (b"\0asm", "WebAssembly"),
    (b"dex\n0", "Dalvik"),
    (b"BC\xc0\xde", "LLVM"),
    (b"\x1bLua", "Lua"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an OLE document or installer"),
    (b"L\0\0\0\x01\x14\x02\0", "a Windows shortcut"),
)
_NAMES: Final = re.compile(
    r".*\.(?:class|com|cubin|dll|dylib|elf|exe|fatbin|lnk|msi|node|o|obj|ocx|ptx|pyc|pyd|pyo|scr|sys|wasm|xpi"
    r"|so(?:\.[0-9]{1,6}){0,4})"
)
_PYC_MAGIC: Final = re.compile(rb".[\x0b-\x11]\r\n[\0-\x03]\0\0\0", re.DOTALL)


def _matches(probe: Probe) -> bool:
    return _NAMES.fullmatch(probe.name) is not None or _kind(probe) is not None


def _kind(probe: Probe) -> str | None:
    head = probe.head
    if head.startswith(b"MZ") and _is_pe(probe):
        return "a Windows program"
    if _PYC_MAGIC.match(head):
        return "compiled Python"
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), None)


def _is_pe(probe: Probe) -> bool:
    """Two letters are little; a program of Windows says where its header is, and it is there."""
    if len(probe.head) < 64:
        return False
    (offset,) = struct.unpack_from("<I", probe.head, 60)
    return probe.content.read(offset, 2) in (b"PE", b"NE", b"LE", b"LX") if offset < probe.size else False


def _scan(scan: FileScan) -> None:
    scan.found(NATIVE, _kind(Probe(scan.name, scan.content)) or "")
    scan.account_for_all()  # nothing in a file that is unverified as a whole has to be accounted for


FORMATS: Final = (Format(name="native-code", matches=_matches, scan=_scan),)
