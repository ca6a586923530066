"""Command lines that nobody writes in good faith, in whatever language they are quoted."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["DOWNLOAD_AND_RUN", "attack_in"]

# Repetitions are bounded and do not overlap: looking through a text takes time linear in its length.
_ATTACKS: Final[tuple[tuple[str, re.Pattern[bytes]], ...]] = tuple(
    (what, re.compile(pattern))
    for what, pattern in (
        ("a shell whose input comes from the network", rb"sh\s{1,4}-i[^\n]{0,40}/dev/(?:tcp|udp)/"),
        ("a shell whose input comes from the network", rb"/dev/(?:tcp|udp)/[^\s]{1,100}[^\n]{0,20}[01]>&[01]"),
        (
            "a shell on the network",
            rb"\bn(?:c|cat)(?:\.\w{1,12})?\s[^\n]{0,80}-[ec]\s{0,4}[\"']?(?:/bin/|cmd|powershell)",
        ),
        ("a shell on the network", rb"mkfifo\s[^\n]{1,120}sh\s{1,4}-i[^\n]{0,80}\bn(?:c|cat)\b"),
        (
            "encoded commands for a shell",
            rb"base64\s{1,4}(?:-d|-D|--decode)[^\n|]{0,100}\|\s{0,4}(?:sudo\s{1,4})?(?:\w{1,4})?sh\b",
        ),
        (
            "encoded commands for PowerShell",
            rb"(?i)powershell(?:\.exe)?\s[^\n]{0,80}-e(?:c|nc|ncodedcommand)?\s{1,4}[\"']?[A-Za-z0-9+/]{40}",
        ),
        ("a download that PowerShell runs", rb"(?i)\biex\b[^\n]{0,60}(?:downloadstring|invoke-webrequest|\biwr\b)"),
    )
)
DOWNLOAD_AND_RUN: Final = re.compile(
    r"\b(?:curl|wget)\s[^\n|]{1,300}\|\s{0,4}(?:sudo\s{1,4})?(?:\w{1,4}sh|sh|python[0-9.]{0,4}|perl)\b"
)


def attack_in(data: bytes) -> tuple[int, str] | None:
    """Where `data` has such a command line, and what it is."""
    found = [(match.start(), what) for what, pattern in _ATTACKS if (match := pattern.search(data)) is not None]
    return min(found, default=None)
