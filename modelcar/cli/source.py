"""SOURCE, as `build`, `plan`, `diff` and `scan` take it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import click

from modelcar.checkpoint import Checkpoint, open_checkpoint
from modelcar.checkpoint.hub import HubOptions
from modelcar.checkpoint.source import REMOTE_SCHEMES
from modelcar.cli.output import Output
from modelcar.cli.progress import progress
from modelcar.errors import UsageError

__all__ = ["Wishes", "open_for_scan", "open_source", "source_options"]

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """Which files of a source are wanted. Patterns match as the Hub's own tools do."""

    allow: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()


_ALL: Final = Wishes()


def source_options(command: F) -> F:
    """`--allow` and `--ignore`, handed on as `wishes`."""

    @click.option("--allow", multiple=True, metavar="PATTERN", help="Of hf:// and the like: only what matches.")
    @click.option("--ignore", multiple=True, metavar="PATTERN", help="Of hf:// and the like: not what matches.")
    @wraps(command)
    def wrapper(*args: Any, allow: tuple[str, ...], ignore: tuple[str, ...], **kwargs: Any) -> Any:
        return command(*args, wishes=Wishes(allow=allow, ignore=ignore), **kwargs)

    return cast("F", wrapper)


def open_source(source: str, output: Output, wishes: Wishes = _ALL, *, spool: Path | None = None) -> Checkpoint:
    """The checkpoint at `source`, its headers checked; what could not be made sense of is said aside.

    Weights that are elsewhere stay there until their bytes are wanted.

    Args:
        spool: where to bring them then, instead of a cache.

    Raises:
        SourceError: it cannot be packaged.
        WorldError: it cannot be read or downloaded now.
    """
    checkpoint = _open(source, wishes, complete=True, spool=spool)
    for note in checkpoint.facts().notes:
        output.aside(f"note: {note}")
    return checkpoint


def open_for_scan(source: str, output: Output) -> Checkpoint:
    """What lies at `source`, whether or not it could be packaged; what was left out is said aside.

    Raises:
        SourceError: it holds what is no file, or has no name that anybody could use.
        WorldError: it cannot be read or downloaded now.
    """
    checkpoint = _open(source, _ALL, complete=False)
    with progress(output, "download") as report:
        checkpoint = checkpoint.local(report)
    if checkpoint.excluded:
        more = f" and {len(checkpoint.excluded) - 1} more" if len(checkpoint.excluded) > 1 else ""
        output.aside(f"note: not scanned, as no image would hold it: {checkpoint.excluded[0]}{more}")
    return checkpoint


def _open(source: str, wishes: Wishes, *, complete: bool, spool: Path | None = None) -> Checkpoint:
    hub = None
    if source.startswith(REMOTE_SCHEMES):
        hub = HubOptions(allow_patterns=wishes.allow, ignore_patterns=wishes.ignore)
    elif wishes != _ALL:
        raise UsageError(f"--allow and --ignore are for sources elsewhere, and {source} is none")
    elif spool is not None:
        raise UsageError(f"--no-cache is for sources elsewhere, and {source} is none", hint="leave it out")
    return open_checkpoint(source, hub=hub, complete=complete, lazy=True, spool=spool)
