"""`modelcar gc`."""

from __future__ import annotations

import click

from modelcar.cli.images import existing_local_store, open_local_store
from modelcar.cli.options import output_options
from modelcar.cli.output import Output, human_size
from modelcar.images.object_cache import Swept, has_brought, sweep_objects
from modelcar.mounts.fetched import Fetched, fetched, free_unused
from modelcar.mounts.keeping import lazy_root
from modelcar.store import LocalStore, default_home
from modelcar.store.local import Collection


@click.command("gc")
@click.option("--mounts", is_flag=True, help="Also remove what mounts have fetched and no mount uses any more.")
@click.option("--objects", is_flag=True, help="Also remove what was brought from object stores and no image uses.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@output_options
def command(mounts: bool, objects: bool, dry_run: bool, output: Output) -> None:
    """Free what no image in the local store uses.

    That is content whose image was removed, and what killed commands left behind. Waits until no other command works
    in the store.

    What `modelcar mount` has fetched is kept for the next mount, and told of; --mounts frees that, too. What a mount
    uses stays in any case.

    What builds from s3:// and the like have brought is in a cache, since images refer to it. --objects removes what
    this local store has brought there and no image in it uses; what another local store has noted, too, stays.

    \b
      modelcar gc --dry-run
      modelcar gc --mounts
    """
    home = default_home()
    store = open_local_store() if objects and has_brought(home) else existing_local_store()
    if store is not None and store.is_busy:
        output.aside("waiting until no other command works in the store")
    collection = store.collect(dry_run=dry_run) if store is not None else Collection(removed=(), freed=0)
    root = lazy_root(home)
    found = fetched(root)
    freed = 0
    if mounts and found.unused:
        freed = found.unused if dry_run else free_unused(root)
    swept = _sweep(store, collection, dry_run=dry_run) if objects else None
    output.document(
        {
            "removed": [str(d) for d in collection.removed],
            "freed": collection.freed,
            "mounts": {"size": found.size, "unused": found.unused, "freed": freed},
            **({"objects": {"files": swept.files, "freed": swept.freed}} if swept is not None else {}),
        }
    )
    _show(collection, found, freed, output, mounts=mounts, dry_run=dry_run)
    if collection.leftovers:
        output.line(f"{human_size(collection.leftovers)} of that killed commands had left")
    if swept is not None:
        done = "would remove" if dry_run else "removed"
        names = f"{swept.files} object{'s' * (swept.files != 1)}"
        output.line(f"{done} {names} from the cache, {human_size(swept.freed)}")


def _sweep(store: LocalStore | None, collection: Collection, *, dry_run: bool) -> Swept:
    return Swept() if store is None else sweep_objects(store, dry_run=dry_run, gone=set(collection.removed))


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
