"""`registry-shim unpin`."""

from __future__ import annotations

import click

from modelcar.cli.options import output_options
from modelcar.cli.output import Output
from registry_shim.cli.asking import root_option
from registry_shim.operations.admin.client import AdminClient

__all__ = ["command"]


@click.command("unpin")
@click.argument("references", metavar="REF...", nargs=-1, required=True)
@root_option
@output_options
def command(references: tuple[str, ...], client: AdminClient, output: Output) -> None:
    """Let images go when room is needed.

    \b
      registry-shim unpin ghcr.io/acme/llm:v1
    """
    unpinned = [client.delete("pins", reference=reference)["reference"] for reference in references]
    output.document({"unpinned": unpinned})
    for name in unpinned:
        output.line(f"unpinned {name}")
