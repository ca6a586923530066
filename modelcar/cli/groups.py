"""Groups of commands that import a command only when it is asked for, and help that ends with examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from inspect import cleandoc
from typing import Any, Final

import click

__all__ = ["LazyGroup"]

Prepare = Callable[[click.Context, str, Sequence[str]], None]
_MARK: Final = "\n\n\b\n"


class LazyGroup(click.Group):
    """A group whose commands are modules of `package`, each with its `command`; what others need is not imported.

    `sections` are the verbs as people type them under headings, each with its line in the help: so that the help needs
    no verb's module. A hyphen is an underscore in the module's name. `prepare` is told of the verb and the words behind
    it, before they are read. `elsewhere` has what other tools call their commands, and which of ours is meant.
    """

    def __init__(
        self,
        *arguments: Any,
        package: str,
        sections: Mapping[str, Mapping[str, str]],
        prepare: Prepare | None = None,
        elsewhere: Mapping[str, str] | None = None,
        **named: Any,
    ) -> None:
        super().__init__(*arguments, **named)
        self._package = package
        self._prepare = prepare
        self.elsewhere = elsewhere or {}
        self.sections = sections
        self._verbs = tuple(verb for verbs in sections.values() for verb in verbs)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(self._verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # click's signature
        if cmd_name not in self._verbs:
            return None
        command = import_module(f"{self._package}.{cmd_name.replace('-', '_')}").command
        if not isinstance(command, click.Command):
            return None
        _put_examples_last(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, but knowing what else there is."""
        try:
            verb, command, words = super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as e:
            raise click.exceptions.NoSuchCommand(e.command_name, possibilities=self._verbs, ctx=ctx) from None
        if self._prepare is not None and verb is not None and not ctx.resilient_parsing:
            self._prepare(ctx, verb, words)
        return verb, command, words

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # click's signature
        widest = max(map(len, self._verbs))
        for heading, verbs in self.sections.items():
            with formatter.section(heading):
                formatter.write_dl([(verb.ljust(widest), line) for verb, line in verbs.items()])


def _put_examples_last(command: click.Command) -> None:
    """A verb's last paragraph, if it is kept as it is written (`\\b`), are commands to try: they end its help."""
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            _put_examples_last(inner)
    text, mark, examples = cleandoc(command.help or "").rpartition(_MARK)
    if mark and command.epilog is None and "\n\n" not in examples:
        command.help, command.epilog = text, f"\b\nExamples:\n{examples}"
