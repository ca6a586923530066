"""What somebody who mistyped a command may have meant."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

import click
from click.exceptions import MissingParameter, NoSuchCommand, NoSuchOption

from modelcar.cli.elsewhere import OPTIONS, SUBJECTS, Elsewhere
from modelcar.cli.groups import LazyGroup

__all__ = ["hint_for"]

_EXTRA: Final = re.compile(r"Got unexpected extra argument \((?P<word>.*)\)", re.DOTALL)
_BEHIND: Final = frozenset({"-v", "--verbose", "-q", "--quiet", "--json", "--plain-http", "--ca-file"})
_CREDENTIALS: Final = re.compile(r"://[^/\s]*@|[^/\s:]:[^/\s@]+@")
_LONG: Final = 160  # characters of a command that is written out
_ALIKE: Final = 0.7

_IMAGE: Final = re.compile(r"(localhost|[^./\s][^/\s]*[.:][^/\s]*)/[^/\s]\S*")  # that says its registry
_ENGINE: Final = re.compile(r"docker|podman|containerd|cri-o|k3s")
# What a word that is no argument is most often: where to, or which name, key, or other image.
_OFTEN_MEANT: Final[Sequence[tuple[str, Callable[[str], object]]]] = (
    ("--engine", _ENGINE.fullmatch),
    ("--listen", re.compile(r"[\w.\[\]:]*:\d+").fullmatch),
    ("--free", re.compile(r"\d.*").fullmatch),
    ("--predicate", re.compile(r".*\.json").fullmatch),
    ("--key", re.compile(r".*\.(key|pub|pem)|\w+://.*").fullmatch),
    ("--registry", re.compile(r"[\w-]+(\.[\w-]+)+(:\d+)?|[\w-]+:\d+").fullmatch),
    ("--canary", _IMAGE.fullmatch),
    ("--node-name", bool),
    ("-o", bool),
    ("-t", bool),
    ("--against", bool),
    ("-f", bool),
    ("--state", bool),
    ("--root", lambda word: not (_IMAGE.fullmatch(word) or _ENGINE.fullmatch(word))),
)
_BEGIN: Final = frozenset({"start", "run", "serve", "up"})
# Where an image is named once too often, or where none is taken.
_VERBS_FOR_IMAGES: Final = {
    "modelcar pull": "modelcar copy",
    "modelcar export": "modelcar copy",
    "modelcar archive": "modelcar copy",
    "modelcar list": "modelcar inspect",
    "modelcar gc": "modelcar rm",
}


@dataclass(frozen=True, slots=True)
class _Asked:
    """The command that was asked for, and the words behind it."""

    context: click.Context
    words: tuple[str, ...]

    @property
    def command(self) -> click.Command:
        return self.context.command

    @property
    def path(self) -> str:
        return self.context.command_path

    @property
    def options(self) -> dict[str, click.Option]:
        return {name: p for p in self.command.params if isinstance(p, click.Option) for name in p.opts}

    def parsed(self) -> tuple[set[str], list[str]] | None:
        """What was given, by parameter, and the words that are too many; `None` where it cannot be read."""
        try:
            values, extra, _ = self.command.make_parser(self.context).parse_args([*self.words])
        except click.UsageError:
            return None
        given = {name for name, value in values.items() if value if isinstance(value, list | tuple | bool | str | int)}
        return given, extra


def hint_for(error: click.ClickException, group: click.Group, name: str, words: Sequence[str]) -> str:
    """What to do about `error`, which came of `words` behind the program `name`: what may be meant, and where to look.

    The same words stand in it that were typed, but never a URL's credentials.
    """
    asked = _asked(group, name, words)
    return f"{_meant(error, asked)}see `{asked.path} --help`"


def _asked(group: click.Group, name: str, words: Sequence[str]) -> _Asked:
    context = click.Context(group, info_name=name, resilient_parsing=True)
    rest = [*words]
    while isinstance(context.command, click.Group) and rest:
        command = context.command.get_command(context, rest[0])
        if command is None:
            break
        context = click.Context(command, parent=context, info_name=rest.pop(0), resilient_parsing=True)
    return _Asked(context, tuple(rest))


def _meant(error: click.ClickException, asked: _Asked) -> str:
    if isinstance(error, NoSuchCommand):
        return _other_command(error.command_name, asked)
    if isinstance(error, NoSuchOption):
        return _other_option(error.option_name, asked)
    if isinstance(error, MissingParameter):
        return _whole(asked)
    if extra := _EXTRA.fullmatch(str(error.message)):
        return _place_of(extra["word"], asked)
    return ""


def _other_command(word: str, asked: _Asked) -> str:
    group = asked.command
    names = group.list_commands(asked.context) if isinstance(group, click.Group) else []
    if word == "help" and asked.words[1:2] and asked.words[1] in names:
        return _did_you_mean(f"{asked.path} {asked.words[1]} --help")
    if isinstance(group, LazyGroup) and (command := group.elsewhere.get(word)):
        return _did_you_mean(_filled(command, asked.words[1:]))
    near = names[0] if len(names) == 1 else _nearest(word, names)
    return _did_you_mean(f"{asked.path} {near}") if near else ""


def _filled(command: str, words: Sequence[str]) -> str:
    """`command` with `words` for its arguments, if they are as many."""
    places = [place for place in command.split() if place.isupper()]
    typed = " ".join(words)
    if len(words) != len(places) or " -" in f" {typed}" or len(typed) > _LONG or _CREDENTIALS.search(typed):
        return command
    rest = iter(words)
    return " ".join(shlex.quote(next(rest)) if part in places else part for part in command.split())


def _other_option(name: str, asked: _Asked) -> str:
    options = asked.options
    known = OPTIONS.get(f"{asked.context.info_name} {name}") or OPTIONS.get(name) or Elsewhere()
    if isinstance(asked.command, click.Group):
        behind = name if name == "--root" else next((o for o in (name, *known.options) if o in _BEHIND), None)
        if behind is not None:
            return f"options stand behind the command: `{asked.path} COMMAND {behind}`; "
    if meant := next((option for option in known.options if option in options), None) or _nearest(name, options):
        return _did_you_mean(meant) + (f"{known.besides}; " if known.besides and meant in known.options else "")
    if known.otherwise:
        return f"{known.otherwise}; "
    arguments = " ".join(p.make_metavar(asked.context) for p in asked.command.params if isinstance(p, click.Argument))
    if arguments and name in SUBJECTS:
        return f"what it is about stands without an option: `{asked.path} {arguments}`; "
    return ""


def _nearest(word: str, names: Iterable[str]) -> str | None:
    """Of `names` the one that `word` is mistyped from; the hyphens before options make nothing alike."""
    bare = {name.lstrip("-"): name for name in names}
    found = get_close_matches(word.lstrip("-"), bare, n=1, cutoff=_ALIKE)
    return bare[found[0]] if found else None


def _whole(asked: _Asked) -> str:
    """The command with what it lacks: a word that is too many is often what is missing."""
    parsed = asked.parsed()
    if parsed is None:
        return ""
    given, extra = parsed
    missing = [p for p in asked.command.params if p.required and p.name not in given]
    wanting = [p for p in missing if isinstance(p, click.Option)]
    if len(extra) == 1 and wanting and wanting[0].opts[0] in ("-o", "-f"):
        if other := _other_verb(asked):
            return other
        rest = [_shown(p, asked.context) for p in missing if p is not wanting[0]]
        added = [wanting[0].opts[0], extra[0]]
        return _did_you_mean(_line(asked.path, _without(asked.words, extra[0]), added, rest))
    line = _line(asked.path, asked.words, metavars=[_shown(p, asked.context) for p in missing])
    return f"as in `{line}`; " if missing and line else ""


def _place_of(word: str, asked: _Asked) -> str:
    """Where a word that is too many may belong."""
    options = asked.options
    if (flag := options.get(f"--{word}")) is not None and flag.is_flag:
        return _did_you_mean(f"--{word}")
    if word in _BEGIN and not {"--listen", "--log"}.isdisjoint(options):
        return "leave it out: it begins at once; "
    if other := _other_verb(asked) or _printed(asked):
        return other
    given, _ = asked.parsed() or (set(), [])
    free = {name for name, option in options.items() if not option.is_flag and option.name not in given}
    meant = next((name for name, fits in _OFTEN_MEANT if name in free and fits(word)), None)
    if meant is None:
        return ""
    return _did_you_mean(_line(asked.path, _without(asked.words, word), [meant, word]))


def _other_verb(asked: _Asked) -> str:
    other = _VERBS_FOR_IMAGES.get(asked.path)
    if other is None or not all(map(_IMAGE.fullmatch, asked.words)):
        return ""
    return _did_you_mean(_line(other, asked.words))


def _printed(asked: _Asked) -> str:
    """Where `--markdown` takes no file, and one was named."""
    flag, page = asked.options.get("--markdown"), next((w for w in asked.words if w.endswith(".md")), None)
    if flag is None or not flag.is_flag or page is None:
        return ""
    line = _line(asked.path, _without(asked.words, page))
    return f"--markdown prints: `{line} > {shlex.quote(page)}`; " if line else ""


def _without(words: Sequence[str], word: str) -> list[str]:
    """`words` without the last that is `word`."""
    last = len(words) - 1 - [*reversed(words)].index(word)
    return [*words[:last], *words[last + 1 :]]


def _line(command: str, words: Sequence[str], added: Sequence[str] = (), metavars: Sequence[str] = ()) -> str:
    """A command to type; only what is new of it where all of it would be long, or would show a password again."""
    whole = " ".join([command, *map(shlex.quote, [*words, *added]), *metavars])
    new = " ".join([*map(shlex.quote, added), *metavars])
    return next((line for line in (whole, new) if len(line) <= _LONG and not _CREDENTIALS.search(line)), "")


def _shown(parameter: click.Parameter, context: click.Context) -> str:
    metavar = parameter.make_metavar(context).removesuffix("...")
    if isinstance(parameter.type, click.Choice):
        metavar = str(parameter.type.choices[0])
    return metavar if isinstance(parameter, click.Argument) else f"{parameter.opts[0]} {metavar}"


def _did_you_mean(what: str) -> str:
    return f"did you mean `{what}`? " if what else ""
