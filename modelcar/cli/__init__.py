"""The command `modelcar`: one verb a file; the only place that prints, prompts or exits."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

import click

from modelcar import __version__
from modelcar.cli.output import complain
from modelcar.errors import ModelcarError

__all__ = ["cli", "main"]

_VERBS: Final = ("build", "plan", "inspect", "list", "rm", "gc", "push", "pull", "copy", "export")
_INTERRUPTED: Final = 130
_BROKEN_PIPE: Final = 141


class _Verbs(click.Group):
    """Imports a verb's module when it is asked for, so that `modelcar --help` is instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _VERBS:
            return None
        command = import_module(f"modelcar.cli.{cmd_name}").command
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
    try:
        cli.main(args=None if arguments is None else list(arguments), prog_name="modelcar", standalone_mode=False)
    except ModelcarError as e:
        return complain(str(e), hint=e.hint, status=e.exit_status)
    except click.exceptions.NoArgsIsHelpError as e:
        print(e.ctx.get_help(), file=sys.stderr)
        return 2
    except click.UsageError as e:
        hint = f"see `{e.ctx.command_path} --help`" if e.ctx else None
        return complain(e.format_message(), hint=hint, status=2)
    except click.exceptions.Exit as e:
        return e.exit_code
    except (KeyboardInterrupt, click.Abort):
        return complain("interrupted; nothing half-written is visible", status=_INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end
        return _BROKEN_PIPE
    except OSError as e:
        what = f"{e.filename}: {e.strerror}" if e.filename else str(e)
        return complain(what, status=3)
    except Exception as e:
        if os.environ.get("MODELCAR_DEBUG"):
            raise
        return complain(
            f"internal error: {type(e).__name__}: {e}",
            hint="this is a defect; MODELCAR_DEBUG=1 shows where, please report it",
            status=3,
        )
    return 0


def run() -> None:
    """Entry point of the installed command."""
    sys.exit(main())
