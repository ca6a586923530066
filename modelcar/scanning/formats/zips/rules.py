"""What can be wrong with a zip."""

from __future__ import annotations

from typing import Final

from modelcar.scanning.findings import Rule, Severity

__all__ = [
    "COMMENT",
    "DISAGREEMENT",
    "ENCRYPTED",
    "EXTRA",
    "FLAGS",
    "HIDDEN",
    "METHOD",
    "OVERLAP",
    "RULES",
    "SEVERAL",
    "SHIFTED",
    "WRONG_CRC",
]

_SAVE_ANEW: Final = "Have the file saved anew by the library that made it."
DISAGREEMENT: Final = Rule(
    id="zip.disagreement",
    severity=Severity.UNVERIFIED,
    title="the directory and a member's own header disagree",
    why="Loaders believe one of them and scanners the other, so that what was checked is not what is loaded.",
    fix=_SAVE_ANEW,
)
FLAGS: Final = Rule(
    id="zip.odd-flags",
    severity=Severity.UNVERIFIED,
    title="a member has flags that models have no use for",
    why="Loaders that ignore such flags read the member; scanners that honour them skip it.",
    fix=_SAVE_ANEW,
)
ENCRYPTED: Final = Rule(
    id="zip.encrypted",
    severity=Severity.UNVERIFIED,
    title="a member is encrypted, or says so",
    why="Nobody can look into it without the password; and loaders that ignore the flag read it all the same.",
    fix="Pack it anew without a password.",
)
WRONG_CRC: Final = Rule(
    id="zip.wrong-checksum",
    severity=Severity.UNVERIFIED,
    title="a member does not have the checksum that it should",
    why="It was damaged or changed; PyTorch loads it nevertheless, and scanners that stop here have seen nothing.",
    fix="Download the file again; if it is as its author published it, ask them to save it anew.",
)
METHOD: Final = Rule(
    id="zip.unknown-compression",
    severity=Severity.UNVERIFIED,
    title="a member is compressed in a way that is not read here",
    why="What could not be decompressed was not looked at.",
    fix="Pack it anew, stored or deflated.",
)
OVERLAP: Final = Rule(
    id="zip.overlap",
    severity=Severity.UNVERIFIED,
    title="members share bytes",
    why="One piece of data that is several files is how decompression bombs and disguises are made.",
    fix=_SAVE_ANEW,
)
HIDDEN: Final = Rule(
    id="zip.hidden-member",
    severity=Severity.UNVERIFIED,
    title="a member is in the file and not in its directory",
    why="Programs that read from the front find it, programs that go by the directory do not.",
    fix=_SAVE_ANEW,
)
SHIFTED: Final = Rule(
    id="zip.shifted",
    severity=Severity.UNVERIFIED,
    title="the directory does not lie where the end of the file says",
    why="Programs make up for that in different ways and may find different archives in one file.",
    fix=_SAVE_ANEW,
)
SEVERAL: Final = Rule(
    id="zip.several-archives",
    severity=Severity.UNVERIFIED,
    title="it can be read as more than one archive",
    why="Which members are in it depends on the program that opens it.",
    fix=_SAVE_ANEW,
)
COMMENT: Final = Rule(
    id="zip.comment",
    severity=Severity.UNVERIFIED,
    title="it carries a comment",
    why="Libraries that save models write none; anything can hide in one.",
    fix=_SAVE_ANEW,
)
EXTRA: Final = Rule(
    id="zip.extra-field",
    severity=Severity.UNVERIFIED,
    title="a header has an additional field that is not understood",
    why="Some programs take names, sizes or passwords from such fields, others do not; and anything can hide in them.",
    fix=_SAVE_ANEW,
)
RULES: Final = (
    DISAGREEMENT,
    FLAGS,
    ENCRYPTED,
    WRONG_CRC,
    METHOD,
    OVERLAP,
    HIDDEN,
    SHIFTED,
    SEVERAL,
    COMMENT,
    EXTRA,
)
