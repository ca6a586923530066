"""`modelcar export`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from modelcar.cli.images import content_size, store_of
from modelcar.cli.options import NAMED_PATH, REFERENCE, output_options
from modelcar.cli.output import Output, human_size
from modelcar.cli.places import carry_along
from modelcar.cli.progress import progress
from modelcar.images.local import find_local, local_name
from modelcar.oci import Reference
from modelcar.packaging.fetch import StoreSource
from modelcar.packaging.labels import image_labels
from modelcar.packaging.locations import open_target_layout
from modelcar.signing.places import LayoutPlace
from modelcar.store import Names
from modelcar.store.transfer import copy_image


@click.command("export")
@click.argument("ref", type=REFERENCE)
@click.option(
    "-o",
    "--output",
    "folder",
    metavar="DIR",
    type=NAMED_PATH,
    required=True,
    help="An OCI layout: new, or one to add to.",
)
@output_options
def command(ref: Reference, folder: Path, output: Output) -> None:
    """Write an image of the local store to a folder: an OCI layout.

    Signatures and attestations come along. The weights are in it: reflinked where the file system can, copied by the
    kernel elsewhere. Any tool that reads OCI layouts takes it: skopeo, podman, buildah, `modelcar copy oci:DIR REF`.

    \b
      modelcar export localhost:5000/my-model:v1 -o ./layout
    """
    began = time.monotonic()
    name = local_name(ref)
    hint = f"`modelcar copy {ref} oci:{folder}` takes a remote one"
    store = store_of(ref, hint=hint)
    with store.session():
        root = find_local(store, ref, hint=hint)
        size = content_size(store.content, root)
        labels = image_labels(StoreSource(store.content, root), root)
        target = open_target_layout(folder)
        with progress(output, "export", labels) as report:
            copy_image(store.content, target, root, trusted=True, progress=report)
        carry_along(LayoutPlace(store.content), LayoutPlace(target), root, output)
        Names(target).put(ref.tag, root)
    seconds = time.monotonic() - began
    output.document(
        {"name": name, "folder": str(folder), "digest": str(root.digest), "size": size, "seconds": round(seconds, 3)}
    )
    output.line(f"exported {name} ({human_size(size)}) to oci:{folder}:{ref.tag} in {seconds:.1f} s")
    output.line(str(root.digest))
