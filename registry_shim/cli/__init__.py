"""The command `registry-shim`: one verb a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import click

from modelcar import __version__
from modelcar.cli.groups import LazyGroup
from modelcar.cli.program import run_program

__all__ = ["cli", "main"]

_VERBS: Final = (
    "serve",
    "status",
    "precache",
    "pin",
    "unpin",
    "gc",
    "rescan",
    "hosts-toml",
    "doctor",
    "node",
    "snapshotter",
)


@click.group(
    cls=LazyGroup,
    package="registry_shim.cli",
    verbs=_VERBS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="registry-shim")
def cli() -> None:
    """The registry that runs on every node."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 0 done, 1 the answer is no, 2 wrong usage, 3 the world failed."""
    return run_program(cli, "registry-shim", arguments)
