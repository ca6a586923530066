"""Tokens, keys and passwords that got into a checkpoint. A finding never shows one: only its kind and its beginning."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from modelcar.scanning.filescan import FileScan
from modelcar.scanning.findings import Rule, Severity
from modelcar.scanning.secret_kinds import KINDS, REACH, SecretKind

__all__ = ["RULES", "Secret", "find_secrets", "report_secrets", "report_secrets_in_pieces"]

SECRET: Final = Rule(
    id="secret.found",
    severity=Severity.FORBIDDEN,
    title="it holds a secret",
    why="Whoever can pull the image can use it, and it stays in every copy.",
    fix="Revoke the secret where it was issued, then remove it from the file.",
)
POSSIBLE: Final = Rule(
    id="secret.possible",
    severity=Severity.NOTE,
    title="it may hold a secret",
    why="It looks like one, or like half of one; only its owner can tell.",
    fix="If it is one, revoke it and remove it from the file.",
)
RULES: Final = (SECRET, POSSIBLE)
_SHOWN: Final = 4  # characters of a secret that a finding shows at most
_AT_ONCE: Final = 10_000  # places that are looked at without a look at the clock


@dataclass(frozen=True, slots=True)
class Secret:
    """`offset` counts bytes from the start of what was searched to the secret itself."""

    kind: SecretKind
    offset: int
    value: bytes


def find_secrets(data: bytes, check_time: Callable[[], None] = lambda: None) -> Iterator[Secret]:
    """Every secret in `data`, of each kind in order. `check_time` is called now and then, and may raise."""
    lowered: bytes | None = None
    taken: set[int] = set()
    for kind in KINDS:
        check_time()
        if kind.ignore_case and lowered is None:
            lowered = data.lower()
        haystack = lowered if kind.ignore_case and lowered is not None else data
        for number, anchor in enumerate(_places(haystack, kind.anchor)):
            if number % _AT_ONCE == 0:
                check_time()
            secret = _secret_at(data, kind, anchor)
            if secret is not None and secret.offset not in taken:
                taken.add(secret.offset)
                yield secret


def _places(data: bytes, anchor: bytes) -> Iterator[int]:
    at = data.find(anchor)
    while at >= 0:
        yield at
        at = data.find(anchor, at + 1)


def _secret_at(data: bytes, kind: SecretKind, anchor: int) -> Secret | None:
    """The secret whose anchor lies at `anchor`; where it may begin earlier, the earliest beginning counts."""
    for start in range(max(0, anchor - kind.lookback), anchor + 1):
        match = kind.pattern.match(data, start, start + REACH)
        if match is not None and match.end() > anchor and kind.plausible(match[1]):
            return Secret(kind, match.start(1), match[1])
    return None


def report_secrets(scan: FileScan, data: bytes, base: int | None = 0) -> None:
    """Report what is found in `data`, which lies at `base` of the file; `None` where it has no place of its own."""
    for secret in find_secrets(data, scan.budget.check_time):
        _report(scan, secret, None if base is None else base + secret.offset)


def report_secrets_in_pieces(scan: FileScan, pieces: Iterable[bytes]) -> None:
    """The same for pieces that follow each other from the start of the file."""
    seen: set[int] = set()
    kept, base = b"", 0
    for piece in pieces:
        window = kept + piece
        for secret in find_secrets(window, scan.budget.check_time):
            if base + secret.offset not in seen:
                seen.add(base + secret.offset)
                _report(scan, secret, base + secret.offset)
        kept = window[-REACH:]
        base += len(window) - len(kept)


def _report(scan: FileScan, secret: Secret, offset: int | None) -> None:
    beginning = secret.value[:_SHOWN].decode("ascii", "replace") if secret.kind.anchor in secret.value[:12] else ""
    detail = f"{secret.kind.title}, {beginning}…" if beginning else secret.kind.title
    scan.found(SECRET if secret.kind.certain else POSSIBLE, detail, offset=offset)
