"""`modelcar export`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from modelcar.cli.options import REFERENCE, local_name, open_local_store, output_options
from modelcar.cli.output import Output, human_size
from modelcar.cli.places import carry_along
from modelcar.cli.progress import progress
from modelcar.errors import NotFound
from modelcar.oci import Reference
from modelcar.signing.places import LayoutPlace
from modelcar.store import Names, OciLayout
from modelcar.store.transfer import copy_image
from modelcar.store.tree import is_document, walk


@click.command("export")
@click.argument("ref", type=REFERENCE)
@click.option("-o", "--output", "folder", type=click.Path(path_type=Path), required=True, help="An OCI layout.")
@output_options
def command(ref: Reference, folder: Path, output: Output) -> None:
    """Write an image of the local store to a folder, as an OCI layout.

    The weights are in it: reflinked where the file system can, copied by the kernel elsewhere. So are signatures and
    attestations. Any tool that reads OCI layouts takes it: skopeo, podman, buildah, `modelcar copy oci:DIR REF`.
    """
    began = time.monotonic()
    name = local_name(ref)
    store = open_local_store()
    with store.session():
        listed = store.names.list()
        if name not in listed:
            raise NotFound(
                f"there is no image {name} in the local store",
                hint=f"`modelcar copy {ref} oci:{folder}` takes a remote one",
            )
        root = listed[name]
        size = sum(d.size for d in walk(store.content, root) if not is_document(d))
        target = OciLayout(folder)
        with progress(output, "export") as report:
            copy_image(store.content, target, root, trusted=True, progress=report)
        carry_along(LayoutPlace(store.content), LayoutPlace(target), root, output)
        Names(target).put(ref.tag, root)
    seconds = time.monotonic() - began
    output.document(
        {"name": name, "folder": str(folder), "digest": str(root.digest), "size": size, "seconds": round(seconds, 3)}
    )
    output.line(f"exported {name} ({human_size(size)}) to oci:{folder}:{ref.tag} in {seconds:.1f} s")
    output.line(str(root.digest))
