"""`modelcar gc`."""

from __future__ import annotations

import click

from modelcar.cli.images import open_local_store
from modelcar.cli.options import output_options
from modelcar.cli.output import Output, human_size


@click.command("gc")
@output_options
def command(output: Output) -> None:
    """Free what no image in the local store uses.

    That is content whose image was removed, and what killed commands left behind. Waits until no other command works
    in the store.
    """
    store = open_local_store()
    if store.is_busy:
        output.aside("waiting until no other command works in the store")
    collection = store.collect()
    output.document({"removed": [str(d) for d in collection.removed], "freed": collection.freed})
    count = len(collection.removed)
    output.line(f"removed {count} {'blob' if count == 1 else 'blobs'}, freed {human_size(collection.freed)}")
