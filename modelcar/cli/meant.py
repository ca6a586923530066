"""What somebody who mistyped a command may have meant."""

from __future__ import annotations

import re
import shlex
from typing import Final

import click
from click.core import ParameterSource
from click.exceptions import NoSuchCommand, NoSuchOption

__all__ = ["meant"]

_EXTRA: Final = re.compile(r"Got unexpected extra argument \((?P<word>.*)\)", re.DOTALL)
_COMMON: Final = frozenset({"-v", "--verbose", "-q", "--quiet", "--json", "--plain-http", "--ca-file"})
# What a word that is no argument is most often: where to, or which name, key, or other image.
_OFTEN_MEANT: Final = ("-o", "-t", "--key", "--against", "-f")


def meant(error: click.ClickException) -> str:
    """A question for the hint, with a blank behind it; `""` where nobody can tell."""
    context = getattr(error, "ctx", None)
    if isinstance(error, NoSuchCommand) and error.possibilities:
        return f"did you mean `{f'{context.command_path} ' if context else ''}{error.possibilities[0]}`? "
    if context is None:
        return ""
    if isinstance(error, NoSuchOption):
        return _other_option(error, context)
    extra = _EXTRA.fullmatch(str(error.message))
    option = _option_for_a_word(context) if extra else None
    return f"did you mean `{option} {shlex.quote(extra['word'])}`? " if extra and option else ""


def _other_option(error: NoSuchOption, context: click.Context) -> str:
    if isinstance(context.command, click.Group) and error.option_name in _COMMON:
        return f"options stand behind the command: `{context.command_path} COMMAND {error.option_name}`; "
    if error.possibilities:
        return f"did you mean `{error.possibilities[0]}`? "
    arguments = [p for p in context.command.params if isinstance(p, click.Argument)]
    words = " ".join(p.make_metavar(context) for p in arguments)
    return f"what it is about stands without an option: `{context.command_path} {words}`; " if words else ""


def _option_for_a_word(context: click.Context) -> str | None:
    """The likeliest of the command's options that were not given."""
    free = {
        name
        for parameter in context.command.params
        if isinstance(parameter, click.Option)
        and not parameter.is_flag
        and context.get_parameter_source(parameter.name or "") is not ParameterSource.COMMANDLINE
        for name in parameter.opts
    }
    return next((name for name in _OFTEN_MEANT if name in free), None)
