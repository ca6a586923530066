"""Everything that goes wrong is said in one voice: every message and every hint of an exception of ours."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click
import pytest

from modelcar import errors
from modelcar.cli import cli
from registry_shim.cli import cli as shim

ROOT = Path(__file__).parents[3]
OURS = {
    name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, errors.ModelcarError)
}
RAISED = re.compile(rf"\b({'|'.join(OURS)})\(")
# Names that are written with a capital, and examples that are to be typed as they are.
NAMES = re.compile(r"(Docker|Europe|In|Name|Fulcio|Rekor|Sigstore|Kubernetes|Linux|Python|Hugging|Btrfs)\b")
OF_OTHERS = {"--format", "--help"}  # of the AWS command line, of everybody
# Words that blame, plead or say nothing: the message says what is, the hint what to do.
EMPTY_WORDS = re.compile(
    r"\b(please|sorry|oops|failed to|unable to|invalid|illegal|bad|can't|couldn't|don't|doesn't|isn't|won't"
    r"|successfully|something went wrong|unexpected error)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Text:
    """A message or a hint; `{}` stands for what is known only then."""

    where: str
    text: str


def written(node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return None


@cache
def texts() -> tuple[Text, ...]:
    return tuple(
        Text(f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}", text)
        for path in [*ROOT.glob("modelcar/**/*.py"), *ROOT.glob("registry_shim/**/*.py")]
        if RAISED.search(content := path.read_text())
        for node in ast.walk(ast.parse(content))
        for text in texts_of(node)
    )


def texts_of(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in OURS:
        parts = [*node.args[:1], *(keyword.value for keyword in node.keywords if keyword.arg == "hint")]
        yield from filter(None, map(written, parts))


def wrong(pattern: str) -> list[str]:
    return [f"{each.where}: {each.text}" for each in texts() if re.search(pattern, each.text)]


def test_there_is_something_to_look_at() -> None:
    assert len(texts()) > 1000


@pytest.mark.parametrize(
    ("pattern", "rule"),
    [
        (r"[^.]\.$|!$", "a line is no sentence: it ends without a full stop"),
        (r"\n|  |^ | $", "one line, one space between words"),
        (r"\bError\b|\bException\b", "people are told what is wrong, not what it is called in the code"),
        (r"\.\.\. ", "an ellipsis is one character"),
    ],
    ids=["end", "spaces", "class names", "ellipsis"],
)
def test_the_form_of_messages(pattern: str, rule: str) -> None:
    assert not wrong(pattern), rule


def test_messages_begin_small_unless_with_a_name() -> None:
    assert not [line for line in wrong(r"^[A-Z][a-z]") if not NAMES.match(line.partition(": ")[2])]


def test_messages_neither_blame_nor_plead() -> None:
    assert not [f"{each.where}: {each.text}" for each in texts() if EMPTY_WORDS.search(each.text)]


def options(group: click.Group) -> Iterator[str]:
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        if isinstance(command, click.Group):
            yield from options(command)
        elif command is not None:
            yield from (name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts))


def test_options_that_are_named_exist() -> None:
    """Hints of packages below the command line name its options, too: they must not outlive them."""
    known = {*options(cli), *options(shim), *OF_OTHERS}
    named = [(each, word) for each in texts() for word in re.findall(r"(?<![\w-])--[a-z][a-z-]*", each.text)]
    assert len(named) > 50
    assert not [f"{each.where}: {word} in {each.text!r}" for each, word in named if word not in known]
