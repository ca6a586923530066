"""Sizes, tables and text from elsewhere."""

from __future__ import annotations

import io
import json
import os
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelcar.cli import output
from modelcar.cli.output import Output, Table, human_size, is_styled, printable


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1049, "1.0 kB"), (99_949, "99.9 kB"), (99_950, "100 kB"),
        (999_499, "999 kB"), (999_500, "1.0 MB"), (90_900_000, "90.9 MB"), (140e9, "140 GB"), (5e15, "5000 TB"),
    ],
)  # fmt: skip
def test_sizes_are_decimal_with_three_digits(size: float, shown: str) -> None:
    assert human_size(size) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("modèle 重み ∞", "modèle 重み ∞"),
        ("\x1b[2J\a\r\n\t\x7f", "\\x1b[2J\\x07\\x0d\\x0a\\x09\\x7f"),
        ("\x9b31m\xa0", "\\x9b31m\\xa0"),
        ("safe\u202egnp.exe\u2028", "safe\\u202egnp.exe\\u2028"),
        ("\U000e0001", "\\U000e0001"),
        (os.fsdecode(b"\xff\xfe"), "\\xff\\xfe"),
        ("\ud800", "\\ud800"),
    ],
)
def test_nothing_moves_the_cursor(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters(codec=None)))
def test_what_is_printed_can_be_printed_again(text: str) -> None:
    once = printable(text)
    assert once.isprintable()
    assert printable(once) == once
    once.encode()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


TABLE = Table(
    columns=("name", "size"),
    rows=[["[red]x[/]:smile:\n", "1"], ["y" * 300, "12"]],
    right=frozenset({"size"}),
    title="[b]title\x1b[0m",
)


def test_a_table_in_a_file_is_plain_and_whole(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=False, quiet=False).table(TABLE)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["", "[b]title\\x1b[0m"]
    assert lines[2].split() == ["name", "size"]
    assert lines[3] == "[red]x[/]:smile:\\x0a".ljust(302) + "   1"
    assert lines[4] == "y" * 300 + "    12"
    assert len(lines) == 5


def test_a_table_on_a_terminal_fits_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    Output(as_json=False, quiet=False).table(TABLE)
    shown = terminal.getvalue()
    assert "\x1b[1mname" in shown, "headers are bold"
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
    assert sum(line.count("y") for line in lines) == 300
    assert max(map(len, lines)) == 40


@pytest.mark.parametrize("width", ["1", "3", "15"])
def test_a_terminal_too_narrow_for_a_table_gets_whole_lines(width: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", width)
    monkeypatch.setenv("TERM", "dumb")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    Output(as_json=False, quiet=False).table(TABLE)
    assert "y" * 300 + "    12" in terminal.getvalue().splitlines()


def test_json_for_programs_and_for_people(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    value = {"name": "重み\x9b\udcff"}
    output = Output(as_json=True, quiet=False)
    output.document(value)
    out = capsys.readouterr().out
    assert out == '{"name": "\\u91cd\\u307f\\u009b\\udcff"}\n'
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    output.document(value)
    shown = terminal.getvalue()
    assert shown.count("\n") == 3
    assert json.loads(shown) == value


def test_one_or_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    for as_json in (True, False):
        output = Output(as_json=as_json, quiet=False)
        output.document({})
        output.line("line")
        output.aside("aside")
        output.table(Table(columns=("a",), rows=[["b"]]))
    assert capsys.readouterr() == ("{}\nline\na\nb\n", "aside\n")
    Output(as_json=False, quiet=True).aside("aside")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("terminal", "environment", "styled"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (True, {"TERM": "dumb"}, False),
        (False, {"CLICOLOR_FORCE": "1"}, True),
        (False, {"CLICOLOR_FORCE": "0"}, False),
        (False, {"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_who_wants_colours(terminal: bool, environment: dict[str, str], styled: bool) -> None:
    class Stream(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    assert is_styled(Stream(), environment) is styled


def test_bold_heads_of_tables_are_for_those_who_want_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = Table(columns=("name",), rows=[["a"]])
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("CLICOLOR_FORCE", "1")
    Output(as_json=False, quiet=False).table(table)
    assert "\x1b[1m" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    Output(as_json=False, quiet=False).table(table)
    assert "\x1b" not in capsys.readouterr().out


CELLS = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12)


@given(
    rows=st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=5),
    right=st.sets(st.sampled_from(["one", "two", "three"])),
    title=st.none() | CELLS.filter(bool),
)
def test_a_table_in_a_file_is_the_same_without_rich(
    rows: list[tuple[str, str, str]], right: set[str], title: str | None
) -> None:
    table = Table(columns=("one", "two", "three"), rows=rows, right=frozenset(right), title=title)
    laid_out = output._laid_out(table, rows, title, width=1000, styled=False)
    aligned = output._aligned(table, rows, title)
    assert [line.rstrip() for line in aligned.splitlines()] == [line.rstrip() for line in laid_out.splitlines()]
