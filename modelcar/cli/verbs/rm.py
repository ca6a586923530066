"""`modelcar rm`."""

from __future__ import annotations

import click

from modelcar.cli.options import REFERENCE, local_name, open_local_store, output_options
from modelcar.cli.output import Output, human_size
from modelcar.errors import NotFound, StorageError
from modelcar.oci import Reference


@click.command("rm")
@click.argument("refs", type=REFERENCE, metavar="REF...", nargs=-1, required=True)
@output_options
def command(refs: tuple[Reference, ...], output: Output) -> None:
    """Remove images from the local store, and what only they used.

    The checkpoints they were built from are not touched.
    """
    store = open_local_store()
    names = [local_name(ref) for ref in refs]
    listed = store.names.list()
    for name in names:
        if name not in listed:
            raise NotFound(f"there is no image {name} in the local store", hint="`modelcar list` shows what there is")
    removed = []
    for name in names:
        for each in (name, f"{name}-modelpack"):
            if each in listed:
                store.names.remove(each)
                removed.append(each)
    try:
        freed = store.collect(wait=False).freed
    except StorageError as e:
        freed = None
        output.aside(f"space is freed by a later `modelcar gc`: {e}")
    output.document({"removed": removed, "freed": freed})
    for name in removed:
        output.line(f"removed {name}")
    if freed:
        output.line(f"freed {human_size(freed)}")
