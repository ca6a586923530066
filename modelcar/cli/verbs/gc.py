"""`modelcar gc`."""

from __future__ import annotations

import click

from modelcar.cli.options import open_local_store, output_options
from modelcar.cli.output import Output, human_size


@click.command("gc")
@output_options
def command(output: Output) -> None:
    """Remove from the local store what no image uses and what killed commands left behind.

    Waits until no other command works in the store.
    """
    collection = open_local_store().collect()
    output.document({"removed": [str(d) for d in collection.removed], "freed": collection.freed})
    output.line(f"removed {len(collection.removed)} blobs, freed {human_size(collection.freed)}")
