"""The command `modelcar`: one verb a file in `verbs`; the only place that prints, prompts or exits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import click

from modelcar import __version__
from modelcar.cli.groups import LazyGroup
from modelcar.cli.program import run_program

__all__ = ["cli", "main"]

_VERBS: Final = (
    "build",
    "plan",
    "diff",
    "scan",
    "convert",
    "inspect",
    "list",
    "rm",
    "gc",
    "push",
    "pull",
    "mount",
    "umount",
    "status",
    "copy",
    "export",
    "archive",
    "load",
    "keygen",
    "sign",
    "attest",
    "verify",
    "inject",
    "admission",
    "controller",
    "manifests",
)


@click.group(
    cls=LazyGroup,
    package="modelcar.cli.verbs",
    verbs=_VERBS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
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
    return run_program(cli, "modelcar", arguments)
