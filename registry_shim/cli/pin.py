"""`registry-shim pin`."""

from __future__ import annotations

from typing import Final

import click

from modelcar.cli.options import output_options
from modelcar.cli.output import Output
from registry_shim.cli.asking import reject_verb, root_option
from registry_shim.operations.admin.client import AdminClient

__all__ = ["command"]

_MEANT: Final = {
    "list ls ps show status": "registry-shim status",
    "rm remove delete cancel": "registry-shim unpin REF",
    "add create": "registry-shim pin REF",
}


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
    reject_verb(references, _MEANT)
    pinned = [client.post("pins", reference=reference) for reference in references]
    output.document({"pinned": pinned})
    for pin in pinned:
        output.line(f"pinned {pin['reference']}" + ("" if pin["digest"] else ", which is not here yet"))
