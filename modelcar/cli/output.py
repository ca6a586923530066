"""What people and programs see: lines and tables, or one JSON document."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import IO, Any

import click

from modelcar.errors import StorageError, UsageError
from modelcar.progress import human_size

__all__ = ["Output", "Table", "human_size", "is_styled", "is_terminal", "percent", "printable", "ready_file"]

_NARROWEST = 8  # columns of a terminal for one of a table
_ANY_WIDTH = 100_000  # columns of a table that goes into a file or a pipe: nothing is cut


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows for people. Columns named in `right` are aligned right."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: frozenset[str] = frozenset()
    title: str | None = None


class Output:
    """How a command answers: as one JSON document, or as text; `quiet` leaves progress and asides out.

    `verbose` is for those who set up a log themselves; for all others it is on already.
    """

    def __init__(self, *, as_json: bool, quiet: bool, verbose: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.verbose = verbose

    @property
    def tells_progress(self) -> bool:
        """Whether anybody hears how far the work is."""
        return self.verbose or not (self.as_json or self.quiet)

    def document(self, value: Any) -> None:
        """Print `value` as the JSON answer, if that was asked for. It is ASCII: no terminal or encoding spoils it."""
        if self.as_json:
            _write(json.dumps(value, indent=2 if is_terminal(sys.stdout) else None))

    def line(self, text: str) -> None:
        """One line of the answer for people."""
        if not self.as_json:
            _write(printable(text))

    def text(self, text: str) -> None:
        """Several lines of the answer that are our own words, as they are; they end with a line's end."""
        if not self.as_json:
            _write(text.removesuffix("\n"))

    def aside(self, text: str) -> None:
        """Something useful that is not the answer: on stderr, and not when quiet."""
        if not self.as_json and not self.quiet:
            with suppress(OSError):  # that nobody listens any more is no reason to stop working
                click.echo(printable(text), err=True)

    def table(self, table: Table) -> None:
        """Print a table for people."""
        if not self.as_json:
            _write(_render(table))


def is_terminal(stream: IO[str] | None) -> bool:
    """Whether `stream` (`None` where it was closed before the program began) is a terminal."""
    return stream is not None and stream.isatty()


def percent(part: float, whole: float) -> str:
    """`part` of `whole`; what is not all is never called 100 %, and what is not nothing never 0 %."""
    if not whole or part >= whole:
        return "100 %" if whole else "0 %"
    share = 100 * part / whole
    if part and share < 0.1:
        return "< 0.1 %"
    return f"{min(share, 99.9):.1f} %"


def is_styled(stream: IO[str] | None, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether colours and bold letters are wanted there: on terminals, unless the environment says otherwise."""
    if environment.get("NO_COLOR"):
        return False
    if environment.get("CLICOLOR_FORCE", "0") not in ("", "0"):
        return True
    return is_terminal(stream) and environment.get("TERM") != "dumb"


@contextmanager
def ready_file(path: Path | None) -> Iterator[Callable[..., None]]:
    """Yields what says to whoever waits for the file where a server listens, an address a line; the file appears
    whole, and goes with the server, so that nobody who waits for the next one finds it. Without a path it says nothing.

    Raises:
        StorageError: from that call, it cannot be written.
        UsageError: the path names no file.
    """
    if path is not None and not path.name:
        raise UsageError(f"{str(path)!r} names no file")
    said = ""

    def say(*addresses: str) -> None:
        nonlocal said
        if path is not None:
            text = "".join(f"{address}\n" for address in addresses)
            _appear(path, text)
            said = text

    try:
        yield say
    finally:
        with suppress(OSError, ValueError):
            if path is not None and said and path.read_text() == said:
                path.unlink()


def _appear(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.write_text(text)
        temporary.replace(path)
    except OSError as e:
        raise StorageError(f"cannot write {path}: {e.strerror}") from None


def printable(text: str) -> str:
    """Names and messages from elsewhere must not move the cursor, fake another line, or turn it around."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _render(table: Table) -> str:
    rows = [[printable(cell) for cell in row] for row in table.rows]
    title = printable(table.title) if table.title is not None else None
    for_people, styled = is_terminal(sys.stdout), is_styled(sys.stdout)
    if for_people or styled or not all(text.isascii() for row in (table.columns, *rows) for text in row):
        text = _laid_out(table, rows, title, width=None if for_people else _ANY_WIDTH, styled=styled)
    else:
        text = _aligned(table, rows, title)
    return "\n".join(line.rstrip() for line in text.rstrip("\n").split("\n"))


def _aligned(table: Table, rows: Sequence[Sequence[str]], title: str | None) -> str:
    """What `_laid_out` gives where nothing is bold, folded or wide: rich takes longer to import than most verbs run."""
    lines = [table.columns, *rows]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    right = [column in table.right for column in table.columns]
    text = [
        "  ".join(
            cell.rjust(n) if to_the_right else cell.ljust(n)
            for cell, n, to_the_right in zip(line, widths, right, strict=True)
        )
        for line in lines
    ]
    return "\n".join([*([f"\n{title}"] if title is not None else []), *text])


def _laid_out(
    table: Table, rows: Sequence[Sequence[str]], title: str | None, *, width: int | None, styled: bool
) -> str:
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    grid = RichTable(box=None, pad_edge=False, header_style="bold")
    for column in table.columns:
        grid.add_column(Text(column), justify="right" if column in table.right else "left", overflow="fold")
    for row in rows:
        grid.add_row(*map(Text, row))
    text = StringIO()  # rich has ideas of its own about broken pipes
    console = Console(file=text, force_terminal=styled, color_system="standard" if styled else None, width=width)
    if console.width < _NARROWEST * len(table.columns):  # folded any further, rows are unreadable, and in the end empty
        console.width = _ANY_WIDTH
    if title is not None:
        console.print(Text(f"\n{title}", style="italic"))
    console.print(grid)
    return text.getvalue()


def _write(text: str) -> None:
    try:
        click.echo(text, color=is_styled(sys.stdout))
    except BrokenPipeError:
        raise
    except OSError as e:
        raise StorageError(f"cannot write to standard output: {e.strerror}") from None
