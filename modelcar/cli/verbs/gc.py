"""`modelcar gc`."""

from __future__ import annotations

import click

from modelcar.cli.images import open_local_store
from modelcar.cli.options import output_options
from modelcar.cli.output import Output, human_size
from modelcar.mounts.fetched import Fetched, fetched, free_unused
from modelcar.mounts.keeping import lazy_root
from modelcar.store.local import Collection


@click.command("gc")
@click.option("--mounts", is_flag=True, help="Also remove what mounts have fetched and no mount uses any more.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@output_options
def command(mounts: bool, dry_run: bool, output: Output) -> None:
    """Free what no image in the local store uses.

    That is content whose image was removed, and what killed commands left behind. Waits until no other command works
    in the store.

    What `modelcar mount` has fetched is kept for the next mount, and told of; --mounts frees that, too. What a mount
    uses stays in any case.
    """
    store = open_local_store()
    if store.is_busy:
        output.aside("waiting until no other command works in the store")
    collection = store.collect(dry_run=dry_run)
    root = lazy_root(store.home)
    found = fetched(root)
    freed = 0
    if mounts and found.unused:
        freed = found.unused if dry_run else free_unused(root)
    output.document(
        {
            "removed": [str(d) for d in collection.removed],
            "freed": collection.freed,
            "mounts": {"size": found.size, "unused": found.unused, "freed": freed},
        }
    )
    _show(collection, found, freed, output, mounts=mounts, dry_run=dry_run)


def _show(collection: Collection, found: Fetched, freed: int, output: Output, *, mounts: bool, dry_run: bool) -> None:
    count = len(collection.removed)
    blobs = f"{count} {'blob' if count == 1 else 'blobs'}"
    size = human_size(collection.freed)
    output.line(f"would remove {blobs} and free {size}" if dry_run else f"removed {blobs}, freed {size}")
    if mounts:
        done = "would free" if dry_run else "freed"
        output.line(f"{done} {human_size(freed)} of {human_size(found.size)} that mounts have fetched")
    elif found.size:
        unused = human_size(found.unused)
        more = f", of which no mount uses {unused}: `modelcar gc --mounts` frees that" if found.unused else ""
        output.line(f"mounts have fetched {human_size(found.size)}{more}")
