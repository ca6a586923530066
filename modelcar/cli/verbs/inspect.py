"""`modelcar inspect`."""

from __future__ import annotations

from contextlib import ExitStack

import click

from modelcar.cli.options import location_argument, network_options, open_local_store, output_options
from modelcar.cli.output import Output, Table, human_size
from modelcar.oci import Reference
from modelcar.packaging.annotations import LAYER
from modelcar.packaging.fetch import ImageSource, LayoutSource, RegistrySource, StoreSource
from modelcar.packaging.inspect import Inspected, inspect_image
from modelcar.packaging.locations import LayoutLocation, Location
from modelcar.registry import ClientSettings, Registry


@click.command("inspect")
@location_argument()
@click.option("--remote", is_flag=True, help="Ask the registry even if the local store has the image.")
@network_options
@output_options
def command(ref: Location, remote: bool, settings: ClientSettings, output: Output) -> None:
    """Show what an image is made of: platforms, layers, files, tensors; no weights are read.

    Looks in the local store first, then in the registry.
    """
    with ExitStack() as stack:
        source = _source(ref, remote, settings, stack)
        inspected = inspect_image(source.resolve(), source.read)
    output.document({"name": str(ref), **inspected.to_dict()})
    if not output.as_json:
        _show(output, str(ref), inspected)


def _source(ref: Location, remote: bool, settings: ClientSettings, stack: ExitStack) -> ImageSource:
    if isinstance(ref, LayoutLocation):
        return LayoutSource(ref)
    if not remote and (local := _local(ref, stack)) is not None:
        return local
    return RegistrySource(ref, stack.enter_context(Registry(settings)))


def _local(ref: Reference, stack: ExitStack) -> ImageSource | None:
    store = open_local_store()
    stack.enter_context(store.session())
    root = store.names.list().get(f"{ref.name}:{ref.tag}")
    if root is None or (ref.digest is not None and ref.digest != root.digest):
        return None
    return StoreSource(store.content, root)


def _show(output: Output, name: str, inspected: Inspected) -> None:
    output.line(name)
    output.line(str(inspected.root.digest))
    for key, value in sorted(inspected.annotations.items()):
        output.line(f"  {key}: {value}")
    for m in inspected.manifests:
        where = str(m.config.platform) if m.config else ""
        rows = [
            [layer.annotations.get(LAYER, ""), human_size(layer.size), layer.digest.short, layer.media_type]
            for layer in m.manifest.layers
        ]
        title = f"\n{m.kind} {where} {m.descriptor.digest.short}".rstrip()
        output.table(Table(("layer", "size", "sha256", "media type"), rows, right=frozenset({"size"}), title=title))
    if inspected.model is not None:
        rows = [
            [f.path, f.role, f.format or "", human_size(f.size), str(len(f.tensors) or "")]
            for layer in inspected.model.layers
            for f in layer.files
        ]
        columns = ("file", "role", "format", "size", "tensors")
        output.table(
            Table(columns, rows, right=frozenset({"size", "tensors"}), title=f"\nfiles in {inspected.model.root}")
        )
