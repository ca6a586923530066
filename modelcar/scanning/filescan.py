"""One file under scan, as its parsers see it.

A parser never says that something is clean. It reports what it finds and *accounts for* the bytes that it has
understood; bytes that nobody has accounted for are a finding of their own.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from modelcar.scanning.content import Content, spooled
from modelcar.scanning.findings import Finding, Rule, Severity, shown
from modelcar.scanning.limits import Budget

__all__ = ["FileScan", "Format", "Malformed", "Probe"]

_HEAD: Final = 4096
_LONGEST_DETAIL: Final = 500  # characters
_TAIL: Final = 66_000  # bytes: a zip's end record with the longest comment, and a little more
MORE: Final = Rule(
    id="scan.more-findings",
    severity=Severity.NOTE,
    title="there is more of this kind",
    why="A file with very many findings would drown the report.",
    fix="Mend what is listed and scan again.",
)


class Malformed(Exception):
    """Bytes that the format does not allow. `str(e)` says what, for a person; caught where the parser was called."""

    def __init__(self, problem: str, offset: int | None = None) -> None:
        super().__init__(problem)
        self.offset = offset


class Probe:
    """What formats are recognised by: a name, and bytes that are read once, when they are first asked for."""

    def __init__(self, name: str, content: Content) -> None:
        self.name = name.rpartition("/")[2].lower()
        self.content = content
        self.size = content.size

    @cached_property
    def head(self) -> bytes:
        """The first 4 KiB."""
        return self.content.read(0, _HEAD)

    @cached_property
    def tail(self) -> bytes:
        """The last 66,000 bytes."""
        return self.content.read(max(0, self.size - _TAIL), _TAIL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A way to read a file.

    Attributes:
        name: as `CheckpointFile.format` calls it, where it has a name there.
        matches: whether some program would take the file for one of these, by its content or by its name.
        scan: accounts for the bytes, reports findings; raises `Malformed` where the file breaks the format.
        sole: whether a file that matches can be nothing else, by whatever name it goes.
    """

    name: str
    matches: Callable[[Probe], bool]
    scan: Callable[[FileScan], None]
    sole: bool = False


@dataclass(slots=True)
class Findings:
    """What was found in one file of the checkpoint and everything inside it. Bounded."""

    limit: int
    kept: list[Finding] = field(default_factory=list)
    dropped: int = 0

    def add(self, finding: Finding) -> None:
        """Keep it; where there is no room, in the place of something less bad."""
        if finding in self.kept:
            return
        if len(self.kept) < self.limit:
            self.kept.append(finding)
            return
        self.dropped += 1
        ranks = list(Severity)
        mildest = max(range(len(self.kept)), key=lambda i: ranks.index(self.kept[i].severity))
        if ranks.index(finding.severity) < ranks.index(self.kept[mildest].severity):
            self.kept[mildest] = finding


class FileScan:
    """What a parser works with: `path` names the file in findings, `name` is its own, as it stands in its archive."""

    def __init__(
        self,
        path: str,
        content: Content,
        budget: Budget,
        findings: Findings,
        dispatch: Dispatch,
        *,
        name: str | None = None,
        depth: int = 0,
    ) -> None:
        self.path = path
        self.name = path if name is None else name
        self.content = content
        self.budget = budget
        self.depth = depth
        self._findings = findings
        self._dispatch = dispatch
        self._covered: list[tuple[int, int]] = []

    @property
    def size(self) -> int:
        return self.content.size

    def found(self, rule: Rule, detail: str = "", *, offset: int | None = None) -> None:
        """Report a finding. `detail` becomes one printable line, whatever of the file is in it."""
        line = shown(detail, _LONGEST_DETAIL)[1:-1]
        self._findings.add(Finding(rule=rule, path=self.path, offset=offset, detail=line))

    def read(self, offset: int, n: int) -> bytes:
        """Exactly `n` bytes.

        Raises:
            Malformed: the file ends before that.
            LimitExceeded: that is more than may be held at once.
        """
        if n < 0 or offset + n > self.size:
            raise Malformed(f"it ends at byte {self.size}, where {max(n, 0)} bytes from {offset} are promised", offset)
        self.budget.check_piece(n)
        data = self.content.read(offset, n)
        if len(data) < n:
            raise Malformed(f"it ends at byte {offset + len(data)}, earlier than a moment ago", offset)
        return data

    def read_all(self) -> bytes:
        return self.read(0, self.size)

    def account(self, offset: int, size: int) -> None:
        """Say that these bytes were understood, or are of a kind that nothing can hide in."""
        if size > 0:
            insort(self._covered, (offset, offset + size))

    def account_for_all(self) -> None:
        self.account(0, self.size)

    def gaps(self) -> Iterator[tuple[int, int]]:
        """The ranges `[start, stop)` that nobody has accounted for."""
        position = 0
        for start, stop in self._covered:
            if start > position:
                yield position, start
            position = max(position, stop)
        if position < self.size:
            yield position, self.size

    def member(self, name: str, content: Content) -> FileScan:
        """A file inside this one, for a parser that knows what it is; findings in it count for the whole.

        Raises:
            LimitExceeded: archives hold more files, or are nested deeper, than a scan may follow.
        """
        self.budget.enter(self.depth + 1)
        return FileScan(
            f"{self.path}!{shown(name)[1:-1]}",
            content,
            self.budget,
            self._findings,
            self._dispatch,
            name=name,
            depth=self.depth + 1,
        )

    def scan_member(self, name: str, content: Content) -> None:
        """Scan a file inside this one by whatever parsers know it. Bounds are those of the whole."""
        self._dispatch(self.member(name, content))

    @contextmanager
    def spool(self, pieces: Iterable[bytes]) -> Iterator[Content]:
        """Decompressed bytes as a content of their own. The caller has told the budget of each piece."""
        with spooled(pieces, self.budget.spool) as content:
            yield content

    def again(self) -> FileScan:
        """The same file for another parser: findings go to the same place, nothing is accounted for yet."""
        return FileScan(
            self.path,
            self.content,
            self.budget,
            self._findings,
            self._dispatch,
            name=self.name,
            depth=self.depth,
        )


Dispatch = Callable[[FileScan], object]
