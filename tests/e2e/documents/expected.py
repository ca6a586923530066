"""Does a command print what the page shows? Numbers that a machine decides may differ; words may not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

__all__ = ["difference"]

# What may be another value of the same kind, each with what stands for it.
_LOOSE: Final = (
    (re.compile(r"…"), ".*"),
    (re.compile(r"\b[0-9a-f]{8,}\b|(?<=sha256:)[0-9a-f]{4,}"), r"[0-9a-f]+"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?"), r"[0-9T:.Z+ -]+"),
    (re.compile(r"[<>]? ?\b\d[\d.,]* ?(s|ms|%|B|kB|MB|GB|KiB|MiB|GiB)(/s)?(?![\w])"), r"[<>]? ?[\d.,]+ ?\w*%?(/s)?"),
    (re.compile(r"(?<=:)\d{5}\b"), r"\d+"),
    (re.compile(r"^\d+K(?=\s)"), r"\d+K"),  # du
    (re.compile(r"/home/you(?=/)"), r"/\S+"),
    (re.compile(r"(?<=modelcar )\d{4}\.\d+\.\d+\b"), r"[\d.]+"),
    (re.compile(r"\s+"), r"\s+"),
)  # fmt: skip


# What stands in for progress bars where there is no terminal; bars leave nothing behind.
_PROGRESS: Final = re.compile(r"\w+ .* \([\d.]+ [kMG]?B\): ([\d.]+ s, |copied$|ready$)")


def difference(shown: Sequence[str], printed: str) -> str | None:
    """The first line of the page that the output does not have in its place, or `None`.

    A line that is `…` alone stands for any lines. Lines after the last that is shown are a difference, too.
    """
    lines = [line.rstrip() for line in printed.splitlines() if line.strip() and not _PROGRESS.match(line)]
    at, skipping = 0, False
    for wanted in (line.strip() for line in shown):
        if not wanted:
            continue
        if wanted == "…":
            skipping = True
            continue
        pattern = re.compile(_pattern(wanted))
        while skipping and at < len(lines) and not pattern.fullmatch(lines[at].strip()):
            at += 1
        if at == len(lines):
            return f"nothing printed is like: {wanted}"
        if not pattern.fullmatch(lines[at].strip()):
            return f"the page shows:  {wanted}\n  it prints: {lines[at].strip()}"
        at, skipping = at + 1, False
    if shown and at < len(lines) and not skipping:
        return f"the page does not show: {lines[at]}"
    return None


def _pattern(line: str) -> str:
    """A regular expression of the whole line: loose where `_LOOSE` says so, literal elsewhere."""
    parts, at = [], 0
    while at < len(line):
        found = min(
            ((match.start(), order, match, loose) for order, (kind, loose) in enumerate(_LOOSE)
             if (match := kind.search(line, at))),
            key=lambda each: each[:2], default=None,
        )  # fmt: skip
        if found is None:
            parts.append(re.escape(line[at:]))
            break
        start, _, match, loose = found
        parts += [re.escape(line[at:start]), loose]
        at = max(match.end(), start + 1)
    return "".join(parts)
