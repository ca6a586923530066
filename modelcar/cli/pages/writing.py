"""Where a page goes: a file that appears whole, or standard output."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from modelcar.cli.output import Output
from modelcar.errors import StorageError, UsageError
from modelcar.store.disk import atomic_write

__all__ = ["check_page_target", "html_option", "write_page"]

F = TypeVar("F", bound=Callable[..., Any])
_STDOUT: Final = "-"


def html_option(what: str) -> Callable[[F], F]:
    """`--html FILE`, handed on as `html`; `what` says what the page shows."""
    return click.option(
        "--html", metavar="FILE", help=f"Write {what} as one HTML page that needs nothing else; - is stdout."
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
    if path.is_dir():
        raise UsageError(
            f"cannot write the page to {target}: it is a folder", hint=f"name a file: {path / 'page.html'}"
        )
    if not path.parent.is_dir():
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
    if path.exists() and not path.is_file():  # a pipe, or /dev/stdout: nothing that could be replaced
        try:
            path.write_bytes(page)
        except OSError as e:
            raise StorageError(f"cannot write {target}: {e.strerror}") from None
    else:
        atomic_write(path.resolve(), page)
    say(f"wrote {target} ({-(-len(page) // 1024):,} KiB)")


def _put(page: bytes) -> None:
    stream = click.get_binary_stream("stdout")
    try:
        stream.write(page)
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as e:
        raise StorageError(f"cannot write to standard output: {e.strerror}") from None
