"""From a click group to an exit status: every failure becomes one clear line, a traceback never reaches a user."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

import click

from modelcar.cli.output import printable
from modelcar.errors import ModelcarError

__all__ = ["run_program"]

_INTERRUPTED: Final = 130
_BROKEN_PIPE: Final = 141
_FAILED: Final = 3


def run_program(group: click.Group, name: str, arguments: Sequence[str] | None) -> int:
    """Run `group` as the program `name`; returns 0 done, 1 the answer is no, 2 wrong usage, 3 the world failed."""

    def complain(message: str, *, hint: str | None = None, status: int) -> int:
        return _complain(name, ModelcarError(message, hint=hint), status)

    try:
        group.main(args=None if arguments is None else list(arguments), prog_name=name, standalone_mode=False)
    except ModelcarError as e:
        return _complain(name, e, e.exit_status)
    except click.exceptions.NoArgsIsHelpError as e:
        click.echo(e.ctx.get_help(), err=True)
        return 2
    except click.UsageError as e:
        return complain(e.format_message(), hint=f"see `{e.ctx.command_path} --help`" if e.ctx else None, status=2)
    except click.exceptions.Exit as e:
        return e.exit_code
    except (KeyboardInterrupt, click.Abort):
        return complain("interrupted; nothing half-written is visible", status=_INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end
        return _BROKEN_PIPE
    except OSError as e:
        return complain(f"{e.filename}: {e.strerror}" if e.filename else str(e), status=_FAILED)
    except Exception as e:
        if os.environ.get("MODELCAR_DEBUG"):
            raise
        hint = "this is a defect; please report it with what MODELCAR_DEBUG=1 shows"
        return complain(f"internal error: {type(e).__name__}: {e}", hint=hint, status=_FAILED)
    return 0


def _complain(name: str, error: ModelcarError, status: int) -> int:
    click.echo(f"{name}: {printable(str(error))}", err=True)
    for reason in error.reasons:
        click.echo(f"  - {printable(reason)}", err=True)
    if error.hint:
        click.echo(f"  hint: {printable(error.hint)}", err=True)
    return status
