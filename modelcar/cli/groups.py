"""Groups of commands that import a command only when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

__all__ = ["LazyGroup"]


class LazyGroup(click.Group):
    """A group whose commands are modules of `package`, each with its `command`; what others need is not imported.

    `verbs` are their names as people type them, in the order of the help; a hyphen is an underscore in the module.
    """

    def __init__(self, *arguments: Any, package: str, verbs: tuple[str, ...], **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._package = package
        self._verbs = verbs

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(self._verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in self._verbs:
            return None
        command = import_module(f"{self._package}.{cmd_name.replace('-', '_')}").command
        return command if isinstance(command, click.Command) else None
