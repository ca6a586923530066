"""`registry-shim pin`."""

from __future__ import annotations

import click

from modelcar.cli.options import output_options
from modelcar.cli.output import Output
from registry_shim.cli.asking import root_option
from registry_shim.operations.admin.client import AdminClient

__all__ = ["command"]


@click.command("pin")
@click.argument("references", metavar="REF...", nargs=-1, required=True)
@root_option
@output_options
def command(references: tuple[str, ...], client: AdminClient, output: Output) -> None:
    """Keep images on this node, whatever the disk says.

    An image need not be here yet. A tag that moves is followed: what it named before stays until the new image is
    whole.

    \b
      registry-shim pin ghcr.io/acme/llm:v1
    """
    pinned = [client.post("pins", reference=reference) for reference in references]
    output.document({"pinned": pinned})
    for pin in pinned:
        output.line(f"pinned {pin['reference']}" + ("" if pin["digest"] else ", which is not here yet"))
