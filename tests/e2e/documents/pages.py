"""What a page asks to be run: its blocks of commands, and the comments that speak about them."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

__all__ = ["ROOT", "Block", "Commands", "NotRun", "Page", "Undecided", "Written", "parse", "paths"]

ROOT: Final = Path(__file__).parents[3]
_LANGUAGES: Final = ("console", "bash", "sh", "shell")
_PART: Final = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)\n(?P<body>.*?)^ *```$|<!-- *(?P<comment>.*?) *-->", re.MULTILINE | re.DOTALL
)
_DIRECTIVE: Final = re.compile(r"(?P<name>run|setup|not run|exit|background|file)(?::\s*(?P<value>.*))?$", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands:
    """Shell commands in order, each with what the page shows it to print; `hidden` ones stand in a comment."""

    line: int
    commands: tuple[tuple[str, tuple[str, ...]], ...]
    status: int = 0
    background: bool = False
    hidden: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A block that is a file."""

    line: int
    path: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotRun:
    """Commands that cannot be run here, and why."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Undecided:
    """Commands that a page without `<!-- run: … -->` shows, or a comment that says nothing: a mistake of the page."""

    line: int
    what: str


Block: TypeAlias = Commands | Written | NotRun | Undecided


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """`needs` are the words of `<!-- run: … -->`, or `None` where a page has no such comment."""

    path: Path
    needs: tuple[str, ...] | None
    blocks: tuple[Block, ...]

    @property
    def is_run(self) -> bool:
        return any(isinstance(block, Commands) and not block.hidden for block in self.blocks)


@dataclass(slots=True)
class _Said:
    """What comments said about the block that follows them."""

    about: dict[str, str] = field(default_factory=dict)

    def take(self, name: str) -> str | None:
        return self.about.pop(name, None)


def paths() -> list[Path]:
    """The pages whose commands are run."""
    return [
        ROOT / "README.md", *sorted(ROOT.glob("docs/tutorial/*.md")), *sorted(ROOT.glob("docs/how-to/*.md")),
    ]  # fmt: skip


def parse(path: Path) -> Page:
    """Read a page. Its mistakes are `Undecided` blocks, so that a test can list all of them."""
    text = path.read_text()
    needs: tuple[str, ...] | None = None
    blocks: list[Block] = []
    said = _Said()
    for part in _PART.finditer(text):
        line = text.count("\n", 0, part.start()) + 1
        if part["comment"] is None:
            body = textwrap.dedent(part["body"])
            blocks += _block(line, part["language"], body, said, runs=needs is not None)
            continue
        directive = _DIRECTIVE.match(part["comment"])
        if directive is None:
            continue  # a comment that is none of ours
        name, value = directive["name"], textwrap.dedent(directive["value"] or "").strip()
        if name == "run":
            needs = tuple(value.split())
        elif name == "setup":
            blocks.append(Commands(line=line, commands=tuple((each, ()) for each in _split(value)), hidden=True))
        else:
            said.about[name] = value
    return Page(path=path, needs=needs, blocks=tuple(blocks))


def _block(line: int, language: str, body: str, said: _Said, *, runs: bool) -> Iterator[Block]:
    target, reason = said.take("file"), said.take("not run")
    status, background = said.take("exit"), said.take("background") is not None
    if target:
        yield Written(line=line, path=target, text=body)
    if reason is not None:
        yield NotRun(line=line, reason=reason) if len(reason) > 3 else Undecided(line=line, what="no reason is given")
    elif language in _LANGUAGES and not target:
        if not runs:
            yield Undecided(line=line, what="neither <!-- run: … --> on the page nor <!-- not run: … --> before it")
            return
        commands = _console(body) if language == "console" else ((each, ()) for each in _split(body))
        yield Commands(line=line, commands=tuple(commands), status=int(status or 0), background=background)


def _console(body: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Lines after `$ ` or `# ` are commands, with lines that go on; all others what they print."""
    command: str | None = None
    shown: list[str] = []
    for line in body.splitlines():
        if command is not None and command.endswith("\\") and not shown:
            command += f"\n{line}"
        elif line.startswith(("$ ", "# ")):
            if command is not None:
                yield command, tuple(_without_blank_ends(shown))
            command, shown = line[2:], []
        else:
            shown.append(line)
    if command is not None:
        yield command, tuple(_without_blank_ends(shown))


def _without_blank_ends(lines: list[str]) -> list[str]:
    return "\n".join(lines).strip("\n").splitlines()


def _split(script: str) -> Iterator[str]:
    """The commands of a script: a line each, unless it goes on (a quote, a backslash, a here-document, a loop)."""
    pending: list[str] = []
    for line in script.splitlines():
        if not pending and (not line.strip() or line.lstrip().startswith("#")):
            continue
        pending.append(line)
        if _is_whole("\n".join(pending)):
            yield "\n".join(pending)
            pending = []
    if pending:
        yield "\n".join(pending)


def _is_whole(command: str) -> bool:
    if command.endswith("\\"):
        return False
    document = re.search(r"<<-?\s*'?(\w+)'?", command)
    if document:
        return command.splitlines()[-1].strip() == document[1]
    words = _words(command)
    if words is None:
        return False
    depth = sum(word in ("do", "then", "{") for word in words) - sum(word in ("done", "fi", "}") for word in words)
    return depth <= 0


def _words(command: str) -> list[str] | None:
    """Its words and operators; `None` while a quote is open."""
    reader = shlex.shlex(command, posix=True, punctuation_chars=";&|()")
    reader.whitespace_split = True
    try:
        return list(reader)
    except ValueError:
        return None
