"""`modelcar archive`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import click

from modelcar.cli.images import open_local_store
from modelcar.cli.options import FOLDER, REFERENCE, output_options
from modelcar.cli.output import Output, human_size
from modelcar.cli.progress import progress
from modelcar.images.local import find_local, local_name
from modelcar.oci import Reference
from modelcar.store.archiving import Part, write_archive
from modelcar.store.names import REF_NAME

# What containerd, BuildKit and podman take the whole name of an image from.
FULL_NAME: Final = "io.containerd.image.name"


@click.command("archive")
@click.argument("ref", type=REFERENCE)
@click.option("-o", "--output", "file", type=FOLDER, required=True, help="The file; there must be none yet.")
@output_options
def command(ref: Reference, file: Path, output: Output) -> None:
    """Write an image to one file for places without a network.

    \b
      modelcar archive ghcr.io/acme/llm:v1 -o llm.tar
      modelcar copy oci-archive:llm.tar registry.internal/acme/llm:v1
    """
    began = time.monotonic()
    name = local_name(ref)
    store = open_local_store()
    with store.session():
        root = find_local(store, ref)
        entry = root.annotated({REF_NAME: ref.tag or "", FULL_NAME: name})
        with progress(output, "archive") as report:
            size = write_archive(file, [Part(entry=entry, store=store.content, trusted=True)], progress=report)
    seconds = time.monotonic() - began
    output.document(
        {"name": name, "file": str(file), "digest": str(root.digest), "size": size, "seconds": round(seconds, 3)}
    )
    output.line(f"archived {name} ({human_size(size)}) as oci-archive:{file}:{ref.tag} in {seconds:.1f} s")
    output.line(str(root.digest))
