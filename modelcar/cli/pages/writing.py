"""Where a page goes: a file that appears whole, or standard output."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from modelcar.cli.options import NamedPath
from modelcar.cli.output import Output
from modelcar.errors import StorageError, UsageError
from modelcar.store.disk import atomic_write

__all__ = ["check_page_target", "html_option", "write_page"]

F = TypeVar("F", bound=Callable[..., Any])
_STDOUT: Final = "-"


def html_option(what: str) -> Callable[[F], F]:
    """`--html FILE`, handed on as `html`; `what` says what the page shows."""
    return click.option(
        "--html",
        type=NamedPath(allow_dash=True, path_type=str),
        metavar="FILE",
        help=f"Write {what} as one HTML page that needs nothing else; - is stdout.",
    )


def check_page_target(target: str, output: Output) -> None:
    """Before any work.

    Raises:
        UsageError: it is a folder, or standard output while that is where JSON goes.
        StorageError: there is no folder for it.
    """
    if target == _STDOUT:
        if output.as_json:
            raise UsageError("--html - and --json both want standard output", hint="give the page a file")
        return
    path = Path(target)
    if stat.S_ISDIR(_mode(path)):
        raise UsageError(
            f"cannot write the page to {target}: it is a folder", hint=f"name a file: {path / 'page.html'}"
        )
    if not stat.S_ISDIR(_mode(path.parent)):
        raise StorageError(f"cannot write {target}: there is no folder {path.parent}")


def write_page(page: bytes, target: str, say: Callable[[str], None]) -> None:
    """Put the page where `--html` says; readers of a file see the old one or the new one. `say` tells of a file.

    Raises:
        StorageError: it cannot be written.
    """
    if target == _STDOUT:
        _put(page)
        return
    path = Path(target)
    if (mode := _mode(path)) and not stat.S_ISREG(mode):  # a pipe, or /dev/stdout: nothing that could be replaced
        try:
            path.write_bytes(page)
        except OSError as e:
            raise StorageError(f"cannot write {target}: {e.strerror}") from None
    else:
        atomic_write(Path(os.path.realpath(path)), page)
    say(f"wrote {target} ({-(-len(page) // 1024):,} KiB)")


def _mode(path: Path) -> int:
    """What is there; 0 for nothing, or what may not be looked at."""
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def _put(page: bytes) -> None:
    try:
        click.echo(page, nl=False)
    except BrokenPipeError:
        raise
    except OSError as e:
        raise StorageError(f"cannot write to standard output: {e.strerror}") from None
