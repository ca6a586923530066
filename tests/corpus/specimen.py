"""What a specimen is: a small checkpoint, what a scanner may say of it, and how its payload is set off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

__all__ = [
    "CLEAN",
    "MALICIOUS",
    "NEVER_CLEAN",
    "NOT_MALICIOUS",
    "UNVERIFIED",
    "Content",
    "Proof",
    "Specimen",
    "Verdict",
]

Verdict = Literal["clean", "unverified", "malicious"]
Content = bytes | Callable[[], bytes]

CLEAN: Final[frozenset[Verdict]] = frozenset({"clean"})
UNVERIFIED: Final[frozenset[Verdict]] = frozenset({"unverified"})
MALICIOUS: Final[frozenset[Verdict]] = frozenset({"malicious"})
NEVER_CLEAN: Final[frozenset[Verdict]] = frozenset({"unverified", "malicious"})
NOT_MALICIOUS: Final[frozenset[Verdict]] = frozenset({"clean", "unverified"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof:
    """How the payload is set off: a loader of `tests.corpus.detonate`, and the file it is given."""

    loader: str
    path: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Specimen:
    """A folder of one or more files.

    `category` is the row of the comparison it counts in, `reference` a CVE, a GHSA, an issue or a class of attack,
    `expected` the verdicts that are right. `denied_licences`: the licences that the policy of the scan forbids,
    without which `expected` would not hold.
    """

    name: str
    category: str
    reference: str
    description: str
    files: Mapping[str, Content]
    expected: frozenset[Verdict]
    proof: Proof | None = None
    denied_licences: tuple[str, ...] = ()

    def write(self, parent: Path) -> Path:
        """Write the files into a new folder of the specimen's name under `parent`; returns that folder."""
        folder = parent / self.name
        for path, content in self.files.items():
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content if isinstance(content, bytes) else content())
        return folder
