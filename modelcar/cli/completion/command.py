"""The verb `completion`, which every program has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from modelcar.cli.options import output_options
from modelcar.cli.output import Output

__all__ = ["completion_command", "script_for"]

SHELLS: Final = ("bash", "zsh", "fish")


def completion_command(program: str, help_text: str, home: Callable[[], Path | None]) -> click.Command:
    """The verb for the program `program`; `home` is asked where the configuration says that the store lies."""

    @click.command("completion", help=help_text)
    @click.argument("shell", type=click.Choice(SHELLS))
    @output_options
    @click.pass_context
    def command(context: click.Context, shell: str, output: Output) -> None:
        root = context.find_root().command
        script = script_for(root, program, shell, home()) if isinstance(root, click.Group) else ""
        output.document({"shell": shell, "script": script})
        output.text(script)

    return command


def script_for(group: click.Group, program: str, shell: str, home: Path | None = None) -> str:
    """The script with which `shell`, one of `SHELLS`, completes `program`."""
    from modelcar.cli.completion.bash import bash_script
    from modelcar.cli.completion.fish import fish_script
    from modelcar.cli.completion.shape import describe
    from modelcar.cli.completion.zsh import zsh_script

    make: dict[str, Any] = {"bash": bash_script, "zsh": zsh_script, "fish": fish_script}
    return str(make[shell](describe(group, program), home))
