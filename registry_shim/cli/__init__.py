"""The command `registry-shim`: one verb a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import click

from modelcar import __version__
from modelcar.cli.groups import LazyGroup
from modelcar.cli.program import run_program

__all__ = ["cli", "main"]

_SECTIONS: Final = {
    "Serve": {
        "serve": "Serve a registry from DIR until SIGTERM or Ctrl-C.",
        "snapshotter": "Be containerd's snapshotter: weights are mounted at once.",
        "node": "Make the shim beside it a part of a Kubernetes cluster.",
        "hosts-toml": "Make this node's container engines ask the shim, and nobody else.",
    },
    "Keep": {
        "precache": "Fetch images before anyone asks for them.",
        "pin": "Keep images on this node, whatever the disk says.",
        "unpin": "Let images go when room is needed.",
        "gc": "Free room on this node now.",
        "rescan": "Scan images again, whatever this node found in them.",
    },
    "Look after": {
        "status": "What this node has, what is arriving, and how much room there is.",
        "doctor": "Prove that images come through the shim, and nothing that it refuses.",
        "completion": "Print the script that completes commands in a shell.",
    },
}


@click.group(
    cls=LazyGroup,
    package="registry_shim.cli",
    sections=_SECTIONS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="registry-shim")
def cli() -> None:
    """The registry that runs on every node."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 0 done, 1 the answer is no, 2 wrong usage, 3 the world failed."""
    return run_program(cli, "registry-shim", arguments)
