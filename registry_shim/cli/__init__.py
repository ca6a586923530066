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
_ELSEWHERE: Final = {
    word: command
    for words, command in {
        "start run up daemon registry": "registry-shim serve --root DIR",
        "pull fetch prefetch preload warm cache load": "registry-shim precache REF",
        "images list ls ps info top stats health": "registry-shim status",
        "rm rmi evict delete remove prune clean purge": "registry-shim gc",
        "install setup configure config wire enable mirror": "registry-shim hosts-toml",
        "uninstall unwire disable": "registry-shim hosts-toml --uninstall",
        "scan": "registry-shim rescan REF",
        "check test diagnose": "registry-shim doctor",
        "keep lock": "registry-shim pin REF",
        "unlock": "registry-shim unpin REF",
        "mount": "modelcar mount REF DIR",
        "verify": "modelcar verify REF",
        "login": "docker login",
        "version": "registry-shim --version",
        "help": "registry-shim --help",
    }.items()
    for word in words.split()
}


@click.group(
    cls=LazyGroup,
    package="registry_shim.cli",
    sections=_SECTIONS,
    elsewhere=_ELSEWHERE,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="registry-shim")
def cli() -> None:
    """The registry that runs on every node.

    Images that the node pulls come through it: verified, held against your rules, kept, and shared with other nodes.

    \b
      registry-shim serve --root /var/lib/registry-shim --upstream ghcr.io
      registry-shim hosts-toml --registry ghcr.io
      registry-shim doctor
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 0 done, 1 the answer is no, 2 wrong usage, 3 the world failed."""
    return run_program(cli, "registry-shim", arguments)
