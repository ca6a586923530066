"""`registry-shim rescan`."""

from __future__ import annotations

from typing import Any

import click

from modelcar.cli.options import output_options
from modelcar.cli.output import Output
from registry_shim.cli.asking import root_option
from registry_shim.operations.admin.client import AdminClient

__all__ = ["command"]


@click.command("rescan")
@click.argument("references", metavar="REF...", nargs=-1, required=True)
@root_option
@output_options
def command(references: tuple[str, ...], client: AdminClient, output: Output) -> None:
    """Scan images again, whatever this node found in them.

    What it found is forgotten at once; only "malicious" holds until the new scan has said otherwise. An image that
    nobody asked for since the shim runs is scanned with its next pull.

    \b
      registry-shim rescan ghcr.io/acme/llm:v1
    """
    images = [client.post("rescan", reference=reference) for reference in references]
    output.document({"images": images})
    for image in images:
        output.line(f"{image['reference']}: {_verdict(image)}; {_scan(image)}")


def _verdict(image: dict[str, Any]) -> str:
    found = image["found"]
    if found is None:
        return "this node had found nothing yet"
    holds = found == "malicious" and image["scan"] != "never"
    return "malicious until a new scan says otherwise" if holds else f"{found} is forgotten"


def _scan(image: dict[str, Any]) -> str:
    match image["scan"]:
        case "now":
            return "it is being scanned"
        case "next-pull":
            return "it is scanned with the next pull"
        case _:
            return f"it is not scanned: {image['reason']}"
