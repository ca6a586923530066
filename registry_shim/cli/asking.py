"""What the commands that ask a running shim have in common."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import click

from modelcar.cli.options import NAMED_PATH, NamedPath
from modelcar.errors import UsageError
from registry_shim.operations.admin.client import AdminClient

__all__ = ["ROOT_VARIABLE", "ago", "called", "lasting", "neighbour_option", "node_option", "reject_verb", "root_option"]

F = TypeVar("F", bound=Callable[..., Any])

ROOT_VARIABLE: Final = "REGISTRY_SHIM_ROOT"
_DEFAULT: Final = "/var/lib/registry-shim"


def _root(help_text: str) -> Callable[[F], F]:
    return click.option(
        "--root",
        metavar="DIR",
        type=NAMED_PATH,
        envvar=ROOT_VARIABLE,
        default=_DEFAULT,
        show_default=True,
        help=help_text,
    )


neighbour_option: Final = _root("The folder of the shim beside it.")
"""`--root`, of those who work on the same node."""

node_option: Final = click.option(
    "--root",
    metavar="DIR",
    type=NamedPath(exists=True, file_okay=False),
    default="/",
    show_default=True,
    help="The node's file system; elsewhere where it is mounted, as at /host in a debug pod.",
)
"""`--root`, of those who work on the node's engines."""


def root_option(command: F) -> F:
    """`--root`, handed on as `client` of the shim that runs over it."""

    @_root(f"The folder of the shim to ask; also ${ROOT_VARIABLE}.")
    @wraps(command)
    def wrapper(*args: Any, root: Path, **kwargs: Any) -> Any:
        return command(*args, client=AdminClient(root), **kwargs)

    return cast("F", wrapper)


def reject_verb(references: Sequence[str], meant: Mapping[str, str]) -> None:
    """Raise `UsageError` where the first image is a word of other tools: `meant` says by words what to type."""
    word = references[0] if references else ""
    command = next((command for words, command in meant.items() if word in words.split()), None)
    if word and command is not None:
        raise UsageError(
            f"{word!r} would be the name of an image",
            hint=f"did you mean `{command}`? the image would be docker.io/library/{word}",
        )


def called(image: Mapping[str, Any]) -> str:
    """What to call an image in a table: one of its names, and how many more it has."""
    names = image["names"] or [image["digest"]]
    return f"{names[0]} and {len(names) - 1} more" if len(names) > 1 else str(names[0])


def ago(moment: float) -> str:
    """A time (seconds since the epoch) as people say it: `3 min ago`."""
    return f"{lasting(max(0.0, time.time() - moment))} ago" if moment else "never"


def lasting(seconds: float) -> str:
    """A length of time in the one unit that matters: `3 min`."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
