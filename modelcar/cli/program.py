"""From a click group to an exit status: every failure becomes one clear line, a traceback never reaches a user."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Final

import click
from click.exceptions import NoSuchCommand, NoSuchOption

from modelcar.cli.interruptions import RUN, Ended, Phase, last_words
from modelcar.cli.meant import hint_for
from modelcar.cli.output import is_terminal, printable
from modelcar.errors import ModelcarError

__all__ = ["open_standard_streams", "run_program"]

_WRONG_USAGE: Final = 2
_FAILED: Final = 3
_BROKEN_PIPE: Final = 128 + signal.SIGPIPE
_CHOICES: Final = re.compile(r"\. Choose from:\s.*", re.DOTALL)  # which the name of the argument says already
_PASSWORD: Final = re.compile(r"://[^/\s]*@")


def open_standard_streams() -> None:
    """Put nothing where a stream was closed: the first file to be opened would get its number, and all who write to
    standard output or standard error, such as programs that we start, would write into that file."""
    number = os.open(os.devnull, os.O_RDWR)
    while number <= 2:
        os.set_inheritable(number, True)
        number = os.open(os.devnull, os.O_RDWR)
    os.close(number)


def run_program(group: click.Group, name: str, arguments: Sequence[str] | None) -> int:
    """Run `group` as the program `name`; returns 0 done, 1 the answer is no, 2 wrong usage, 3 the world failed."""
    try:
        try:
            RUN.begin()
            return _dispatch(group, name, arguments)
        except KeyboardInterrupt as e:
            RUN.phase = Phase.OVER
            status = 128 + (e.number if isinstance(e, Ended) else signal.SIGINT)
            with last_words(status):
                if is_terminal(sys.stderr):
                    _say("")  # the terminal has just shown ^C
                _complain(name, "interrupted; nothing half-written is visible", status=status)
                _flush(sys.stdout)
            return status
    finally:
        RUN.phase = Phase.OVER
        _flush(sys.stdout)
        _flush(sys.stderr)


def _dispatch(group: click.Group, name: str, arguments: Sequence[str] | None) -> int:
    words = sys.argv[1:] if arguments is None else list(arguments)
    if sys.getfilesystemencoding() != "utf-8" and not _asks_for_help(words):  # images would hold other names of files
        hint = "set LC_ALL=C.UTF-8, or PYTHONUTF8=1"
        return _complain(
            name, "the locale's encoding is not UTF-8, which names of files are in", hint=hint, status=_FAILED
        )
    try:
        # Not group.main(), which has ideas of its own about broken pipes, Ctrl-C and the end of a file.
        with group.make_context(name, [*words]) as context:
            group.invoke(context)
    except ModelcarError as e:
        return _complain(name, str(e), reasons=e.reasons, hint=e.hint, status=e.exit_status)
    except click.exceptions.Exit as e:
        return e.exit_code
    except click.exceptions.NoArgsIsHelpError as e:
        _say(e.ctx.get_help())
        return _WRONG_USAGE
    except click.ClickException as e:
        nearest = isinstance(e, NoSuchOption | NoSuchCommand)
        message = _as_ours(e.message if nearest else e.format_message())
        return _complain(name, message, hint=hint_for(e, group, name, words), status=_WRONG_USAGE)
    except BrokenPipeError:
        return _BROKEN_PIPE  # whoever read us has seen enough, and expects silence
    except OSError as e:
        reason = e.strerror or str(e)
        return _complain(name, f"{e.filename}: {reason}" if e.filename else reason, status=_FAILED)
    except Exception as e:
        if RUN.came:  # whoever was at work made something else of it, as Python's compiler does of one during an import
            raise Ended(RUN.came[-1]) from e
        if os.environ.get("MODELCAR_DEBUG"):
            raise
        hint = "this is a defect; please report it with what MODELCAR_DEBUG=1 shows"
        return _complain(name, f"internal error: {type(e).__name__}: {e}", hint=hint, status=_FAILED)
    return 0


def _asks_for_help(words: Sequence[str]) -> bool:
    """Whether it is certain that no file is touched: there is no option beside the one that asks."""
    return {word for word in words if word.startswith("-")} in ({"-h"}, {"--help"}, {"--version"})


def _as_ours(message: str) -> str:
    """Click's sentences in the form of all others: `No such option: --x` as `no such option: --x`."""
    line = _CHOICES.sub("", _PASSWORD.sub("://", message))
    first = line[:1].lower() if line[1:2].islower() else line[:1]
    return (first + line[1:]).removesuffix(".")


def _complain(name: str, message: str, *, reasons: Sequence[str] = (), hint: str | None = None, status: int) -> int:
    more = () if [*reasons] == [message] else reasons  # what has one problem says it once
    lines = [f"{name}: {printable(message)}", *(f"  - {printable(reason)}" for reason in more)]
    _say("\n".join([*lines, *([f"  hint: {printable(hint)}"] if hint else [])]))
    return status


def _say(text: str) -> None:
    with suppress(OSError, ValueError):  # nobody listens; the exit status has to do
        click.echo(text, err=True)


def _flush(stream: IO[str] | None) -> None:
    """What cannot be written is dropped here, or the interpreter would complain about it at its very end."""
    if stream is None:
        return
    try:
        stream.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            devnull = os.open(os.devnull, os.O_WRONLY)
            os.dup2(devnull, stream.fileno())
            os.close(devnull)
