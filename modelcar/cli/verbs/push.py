"""`modelcar push`."""

from __future__ import annotations

import time

import click

from modelcar.cli.options import REFERENCE, local_name, network_options, open_local_store, output_options
from modelcar.cli.output import Output, human_size
from modelcar.cli.places import publish
from modelcar.cli.progress import progress
from modelcar.errors import NotFound
from modelcar.oci import Reference
from modelcar.registry import ClientSettings, Registry
from modelcar.store.tree import is_document, walk


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
    name = local_name(ref)
    store = open_local_store()
    with store.session():
        listed = store.names.list()
        if name not in listed:
            raise NotFound(
                f"there is no image {name} in the local store", hint=f"`modelcar build SOURCE -t {name}` makes it"
            )
        root = listed[name]
        size = sum(d.size for d in walk(store.content, root) if not is_document(d))
        with progress(output, "push") as report, Registry(settings, report) as registry:
            images = {target: root}
            twin = listed.get(f"{name}-modelpack")
            if twin is not None and target.tag is not None:
                images[target.with_tag(f"{target.tag}-modelpack")] = twin
            attached = publish(store.content, images, registry, output)
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
