"""The command `modelcar`: one verb a file in `verbs`; the only place that prints, prompts or exits."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Final

import click

from modelcar import __version__
from modelcar.cli.program import run_program

__all__ = ["cli", "main"]

_VERBS: Final = (
    "build",
    "plan",
    "scan",
    "inspect",
    "list",
    "rm",
    "gc",
    "push",
    "pull",
    "copy",
    "export",
    "archive",
    "keygen",
    "sign",
    "attest",
    "verify",
)


class _Verbs(click.Group):
    """Imports a verb's module when it is asked for, and what only other verbs need not at all."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _VERBS:
            return None
        command = import_module(f"modelcar.cli.verbs.{cmd_name}").command
        return command if isinstance(command, click.Command) else None


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="modelcar")
def cli() -> None:
    """Move models the way you move containers.

    A checkpoint becomes a layered OCI image, one weight shard a layer, without a second copy of the weights.

    \b
      modelcar build ./my-model -t localhost:5000/my-model:v1
      modelcar push localhost:5000/my-model:v1
      modelcar pull localhost:5000/my-model:v1 -o ./copy
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns 0 done, 1 the answer is no, 2 wrong usage, 3 the world failed."""
    return run_program(cli, "modelcar", arguments)
