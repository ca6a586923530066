"""`modelcar list`."""

from __future__ import annotations

import click

from modelcar.cli.images import existing_local_store
from modelcar.cli.options import output_options
from modelcar.cli.output import Output, Table, human_size
from modelcar.errors import ModelcarError
from modelcar.oci import Descriptor
from modelcar.store import LocalStore
from modelcar.store.tree import is_document, walk

_Listed = tuple[str, Descriptor, tuple[int, int] | None]


@click.command("list")
@output_options
def command(output: Output) -> None:
    """List the images in the local store.

    "on disk" leaves out weights, which lie in the checkpoint that the image was built from, or in a registry alone.

    \b
      modelcar list
      modelcar list --json
    """
    images = _images()
    output.document(
        [
            {
                "name": name,
                "digest": str(root.digest),
                "size": sizes[0] if sizes else None,
                "onDisk": sizes[1] if sizes else None,
            }
            for name, root, sizes in images
        ]
    )
    if not images:
        output.aside("the local store is empty; `modelcar build SOURCE -t REF` puts an image there")
        return
    rows = [
        [name, root.digest.short, *(map(human_size, sizes) if sizes else ("damaged", ""))]
        for name, root, sizes in images
    ]
    columns = ("name", "sha256", "size", "on disk")
    output.table(Table(columns=columns, rows=rows, right=frozenset({"size", "on disk"})))


def _images() -> list[_Listed]:
    store = existing_local_store()
    if store is None:
        return []
    with store.session():
        return [(name, root, _sizes(store, root)) for name, root in sorted(store.names.list().items())]


def _sizes(store: LocalStore, root: Descriptor) -> tuple[int, int] | None:
    """Bytes of all blobs, and of those that are files of their own; `None` if something is missing."""
    try:
        blobs = [d for d in walk(store.content, root) if not is_document(d)]
    except ModelcarError:
        return None
    here = [d for d in blobs if d.digest in store.content]
    if any(store.content.elsewhere(d.digest) is None for d in blobs if d not in here):
        return None
    return sum(d.size for d in blobs), sum(d.size for d in here if not store.content.is_virtual(d.digest))
