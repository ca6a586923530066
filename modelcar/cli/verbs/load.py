"""`modelcar load`."""

from __future__ import annotations

from contextlib import ExitStack

import click

from modelcar.cli.images import store_of
from modelcar.cli.loading import ENGINES, load_and_say
from modelcar.cli.options import REFERENCE, location_argument, output_options, platform_option
from modelcar.cli.output import Output
from modelcar.errors import UsageError
from modelcar.images.local import find_local
from modelcar.oci import Descriptor, Platform, Reference
from modelcar.packaging.fetch import LayoutSource
from modelcar.packaging.locations import Location, StoredLocation
from modelcar.store import Layout, Names

_FULL_NAME = "io.containerd.image.name"


@click.command("load")
@location_argument()
@click.option(
    "--engine",
    type=ENGINES,
    default="auto",
    show_default=True,
    help="Into which; auto is docker where it is told of or has a socket, else podman.",
)
@click.option("-t", "--tag", "name", type=REFERENCE, help="Call it so there; by default as it is called here.")
@platform_option("Load the image for this platform; by default for the engine's own.")
@output_options
def command(ref: Location, engine: str, name: Reference | None, platform: Platform | None, output: Output) -> None:
    """Load an image into a local docker or podman.

    REF is an image of the local store, an archive (oci-archive:FILE[:TAG]) or an OCI layout (oci:DIR[:TAG]). Weights go
    from the checkpoint's files to the engine as a stream, without a copy of ours in between.

    \b
      modelcar load localhost:5000/my-model:v1
      modelcar load oci-archive:llm.tar --engine podman -t llm:v1
    """
    with ExitStack() as stack:
        layout, root = _open(ref, stack)
        called = name or _name_of(ref, layout, root)
        document = load_and_say(layout, root, called, output, engine=engine, platform=platform)
    output.document({"digest": str(root.digest), **document})
    output.line(str(root.digest))


def _open(ref: Location, stack: ExitStack) -> tuple[Layout, Descriptor]:
    if isinstance(ref, StoredLocation):
        source = LayoutSource(ref)
        return source.layout, source.resolve()
    hint = f"`modelcar pull {ref}` brings it from its registry"
    store = store_of(ref, hint=hint)
    stack.enter_context(store.session())
    return store.content, find_local(store, ref, hint=hint)


def _name_of(ref: Location, layout: Layout, root: Descriptor) -> Reference:
    """Its reference, or the whole name that stands in a layout. Raises `UsageError`."""
    if isinstance(ref, Reference):
        return ref
    for entry in Names(layout).entries():
        if entry.digest == root.digest and (whole := entry.annotations.get(_FULL_NAME)):
            return Reference.parse(whole)
    raise UsageError(f"{ref} does not say what the image is called", hint="give it a name with --tag")
