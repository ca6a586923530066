"""`modelcar push`."""

from __future__ import annotations

import time

import click

from modelcar.cli.images import content_size, open_local_store
from modelcar.cli.options import REFERENCE, network_options, output_options
from modelcar.cli.output import Output, human_size
from modelcar.cli.places import show_carried
from modelcar.cli.progress import progress
from modelcar.images.local import find_local, local_name
from modelcar.images.publish import publish_image
from modelcar.oci import Reference
from modelcar.registry import ClientSettings, Registry


@click.command("push")
@click.argument("ref", type=REFERENCE)
@click.argument("target", type=REFERENCE, required=False)
@network_options
@output_options
def command(ref: Reference, target: Reference | None, settings: ClientSettings, output: Output) -> None:
    """Push an image of the local store to its registry, or to TARGET.

    Weights go straight from the checkpoint's files to the registry; what it has already is not sent again. Signatures
    and attestations go along, and the tag appears when everything else is there.
    """
    began = time.monotonic()
    target = target or ref
    store = open_local_store()
    with store.session():
        root = find_local(store, ref, hint=f"`modelcar build SOURCE -t {local_name(ref)}` makes it")
        size = content_size(store, root)
        with progress(output, "push") as report, Registry(settings, report) as registry:
            carried = publish_image(registry, store.content, root, target)
        attached = show_carried(carried, output)
    seconds = time.monotonic() - began
    output.document(
        {
            "name": str(target),
            "digest": str(root.digest),
            "size": size,
            "attachments": attached,
            "seconds": round(seconds, 3),
        }
    )
    output.line(f"pushed {target} ({human_size(size)}) in {seconds:.1f} s")
    output.line(str(root.digest))
