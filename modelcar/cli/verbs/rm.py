"""`modelcar rm`."""

from __future__ import annotations

import click

from modelcar.cli.images import store_of
from modelcar.cli.options import REFERENCE, output_options
from modelcar.cli.output import Output, human_size
from modelcar.errors import StorageError
from modelcar.images.local import find_local, local_name
from modelcar.oci import Reference


@click.command("rm")
@click.argument("refs", type=REFERENCE, metavar="REF...", nargs=-1, required=True)
@output_options
def command(refs: tuple[Reference, ...], output: Output) -> None:
    """Remove images from the local store, and what only they used.

    The checkpoints they were built from are not touched.

    \b
      modelcar rm localhost:5000/my-model:v1
    """
    store = store_of(refs[0])
    for ref in refs:
        find_local(store, ref)
    names = list(dict.fromkeys(map(local_name, refs)))
    for name in names:
        store.names.remove(name)
    try:
        freed = store.collect(wait=False).freed
    except StorageError as e:
        freed = None
        output.aside(f"space is freed by a later `modelcar gc`: {e}")
    output.document({"removed": names, "freed": freed})
    for name in names:
        output.line(f"removed {name}")
    if freed:
        output.line(f"freed {human_size(freed)}")
