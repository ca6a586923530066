"""SOURCE, as `build`, `plan`, `diff` and `scan` take it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from modelcar.checkpoint import Checkpoint
from modelcar.cli.output import Output
from modelcar.cli.progress import progress
from modelcar.images.object_cache import bringing
from modelcar.images.sources import ALL, Wishes, open_wanted
from modelcar.store import default_home

__all__ = ["Wishes", "open_for_scan", "open_source", "source_options"]

F = TypeVar("F", bound=Callable[..., Any])


def source_options(command: F) -> F:
    """`--allow` and `--ignore`, handed on as `wishes`."""

    @click.option(
        "--allow", multiple=True, metavar="PATTERN", help="Of hf:// and the like: only what matches; may be repeated."
    )
    @click.option(
        "--ignore", multiple=True, metavar="PATTERN", help="Of hf:// and the like: not what matches; may be repeated."
    )
    @wraps(command)
    def wrapper(*args: Any, allow: tuple[str, ...], ignore: tuple[str, ...], **kwargs: Any) -> Any:
        return command(*args, wishes=Wishes(allow=allow, ignore=ignore), **kwargs)

    return cast("F", wrapper)


def open_source(source: str, output: Output, wishes: Wishes = ALL, *, spool: Path | None = None) -> Checkpoint:
    """The checkpoint at `source`, its headers checked; what could not be made sense of is said aside.

    Weights that are elsewhere stay there until their bytes are wanted.

    Args:
        spool: where to bring them then, instead of a cache.

    Raises:
        SourceError: it cannot be packaged.
        WorldError: it cannot be read or downloaded now.
    """
    checkpoint = open_wanted(source, wishes, spool=spool)
    for note in checkpoint.facts().notes:
        output.aside(f"note: {note}")
    return checkpoint


def open_for_scan(source: str, output: Output) -> Checkpoint:
    """What lies at `source`, whether or not it could be packaged; what was left out is said aside.

    Raises:
        SourceError: it holds what is no file, or has no name that anybody could use.
        WorldError: it cannot be read or downloaded now.
    """
    checkpoint = open_wanted(source, complete=False)
    with bringing(checkpoint, default_home()), progress(output, "download") as report:
        checkpoint = checkpoint.local(report)
    if checkpoint.excluded:
        more = f" and {len(checkpoint.excluded) - 1} more" if len(checkpoint.excluded) > 1 else ""
        output.aside(f"note: not scanned, as no image would hold it: {checkpoint.excluded[0]}{more}")
    return checkpoint
