"""What there is to complete: verbs, their options, and what kind of word stands where."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

import click

__all__ = ["Kind", "Option", "Program", "Verb", "Word", "describe"]

_FILES: Final = frozenset(
    {"KEY", "FILE", "DIR", "SOURCE", "SOURCE|REF", "NAME=FILE"}
)  # metavars of what is text to click


class Kind(Enum):
    """What may stand somewhere."""

    TEXT = "text"
    """Something that nobody can guess."""
    FILE = "file"
    """A file or folder."""
    IMAGE = "image"
    """The name of an image of the local store, or a file or folder with images."""
    CHOICE = "choice"
    """One of several words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A word that stands somewhere. `name` is for people; `choices` those of a `CHOICE`."""

    kind: Kind
    name: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """`names` as they are typed; `value` is `None` for a switch."""

    names: tuple[str, ...]
    help: str
    value: Word | None
    repeatable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """A command by its words behind the program's name: `("admission", "serve")`; the program itself has none.

    `verbs` are the words of commands within it; `rest` is what stands where no argument of its own is left.
    """

    path: tuple[str, ...]
    help: str
    options: tuple[Option, ...]
    verbs: tuple[str, ...] = ()
    arguments: tuple[Word, ...] = ()
    rest: Word | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A whole command line, the program itself first."""

    name: str
    verbs: tuple[Verb, ...]

    @property
    def function(self) -> str:
        """Its name as a shell's function."""
        return "_" + self.name.replace("-", "_")


def describe(group: click.Group, name: str) -> Program:
    """The program `name` with all that `group` has; imports every verb."""
    context = click.Context(group, info_name=name, **group.context_settings)  # -h is one of these
    return Program(name=name, verbs=tuple(_verbs(group, (), context)))


def _verbs(command: click.Command, path: tuple[str, ...], context: click.Context) -> Iterator[Verb]:
    inner: tuple[str, ...] = ()
    if isinstance(command, click.Group):
        inner = tuple(command.list_commands(context))
    arguments = [p for p in command.params if isinstance(p, click.Argument)]
    yield Verb(
        path=path,
        help=command.get_short_help_str(95),
        options=tuple(_option(p) for p in command.get_params(context) if isinstance(p, click.Option) and not p.hidden),
        verbs=inner,
        arguments=tuple(_word(p) for p in arguments if p.nargs == 1),
        rest=next((_word(p) for p in arguments if p.nargs != 1), None),
    )
    for word in inner:
        assert isinstance(command, click.Group)  # noqa: S101  # only they have some
        found = command.get_command(context, word)
        if found is not None:
            yield from _verbs(found, (*path, word), click.Context(found, info_name=word, parent=context))


def _option(option: click.Option) -> Option:
    return Option(
        names=(*option.opts, *option.secondary_opts),
        help=" ".join((option.help or "").split()),
        value=None if option.is_flag or option.count else _word(option),
        repeatable=option.multiple,
    )


def _word(parameter: click.Parameter) -> Word:
    name = (parameter.metavar or parameter.type.name or parameter.name or "").upper()
    if isinstance(parameter.type, click.Choice):
        return Word(kind=Kind.CHOICE, name=name, choices=tuple(map(str, parameter.type.choices)))
    if parameter.type.name == "REF":
        return Word(kind=Kind.IMAGE, name=name)
    if name == "SOURCE|REF":
        return Word(kind=Kind.IMAGE, name=name)
    if isinstance(parameter.type, click.Path | click.File) or name in _FILES:
        return Word(kind=Kind.FILE, name=name)
    return Word(kind=Kind.FILE if parameter.name == "source" else Kind.TEXT, name=name)
