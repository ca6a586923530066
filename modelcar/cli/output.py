"""What people and programs see: lines and tables, or one JSON document."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

__all__ = ["Output", "Table", "human_size", "printable"]

_UNITS = ("B", "kB", "MB", "GB", "TB")


def human_size(size: float) -> str:
    """Bytes in decimal units, as registries and disks are labelled: `90.9 MB`."""
    unit = 0
    while size >= 999.5 and unit < len(_UNITS) - 1:
        size /= 1000
        unit += 1
    return f"{size:.0f} {_UNITS[unit]}" if unit == 0 or size >= 99.95 else f"{size:.1f} {_UNITS[unit]}"


@dataclass(frozen=True)
class Table:
    """Rows for people. Columns named in `right` are aligned right."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: frozenset[str] = frozenset()
    title: str | None = None


class Output:
    """How a command answers: as one JSON document, or as text; `quiet` leaves progress and asides out."""

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self.as_json = as_json
        self.quiet = quiet

    def document(self, value: Any) -> None:
        """Print `value` as the JSON answer, if that was asked for."""
        if self.as_json:
            click.echo(json.dumps(value, indent=2 if sys.stdout.isatty() else None, ensure_ascii=False))

    def line(self, text: str) -> None:
        """One line of the answer for people."""
        if not self.as_json:
            click.echo(text)

    def aside(self, text: str) -> None:
        """Something useful that is not the answer: on stderr, and not when quiet."""
        if not self.as_json and not self.quiet:
            click.echo(text, err=True)

    def table(self, table: Table) -> None:
        """Print a table for people."""
        if self.as_json:
            return
        from rich.console import Console
        from rich.table import Table as RichTable

        rich_table = RichTable(title=table.title, title_justify="left", box=None, pad_edge=False, header_style="bold")
        for column in table.columns:
            justify = "right" if column in table.right else "left"
            rich_table.add_column(column, justify=justify, overflow="fold", no_wrap=not sys.stdout.isatty())  # type: ignore[arg-type]
        for row in table.rows:
            rich_table.add_row(*(_escape(cell) for cell in row))
        Console(width=None if sys.stdout.isatty() else 200, highlight=False).print(rich_table)


def _escape(cell: str) -> str:
    from rich.markup import escape

    return escape(printable(cell))


def printable(text: str) -> str:
    """Names and messages from elsewhere must not move the cursor or fake another line."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
