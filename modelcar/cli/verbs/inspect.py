"""`modelcar inspect`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Final

import click

from modelcar.cli.options import location_argument, network_options, output_options
from modelcar.cli.output import Output, Table, human_size
from modelcar.cli.places import open_place
from modelcar.oci import Descriptor
from modelcar.packaging.annotations import LAYER
from modelcar.packaging.inspect import Inspected, inspect_image
from modelcar.packaging.locations import Location
from modelcar.registry import ClientSettings
from modelcar.signing.claims import Claim, claims
from modelcar.signing.evidence import gather_evidence
from modelcar.signing.places import Place
from modelcar.store.tree import is_document

_MAX_BLOB: Final = 512 << 20  # bytes of a model index that is read whole


@click.command("inspect")
@location_argument()
@click.option("--remote", is_flag=True, help="Ask the registry even if the local store has the image.")
@network_options
@output_options
def command(ref: Location, remote: bool, settings: ClientSettings, output: Output) -> None:
    """Show what an image is made of, without reading weights.

    Its platforms, layers, files and tensors, and what is attached: signatures as they present themselves; `modelcar
    verify` says whether they are true. Looks in the local store first, then in the registry.
    """
    with ExitStack() as stack:
        place, root = open_place(ref, remote=remote, settings=settings, stack=stack)
        inspected = inspect_image(root, partial(_read, place))
        attached = claims(root.digest, gather_evidence(place, root.digest))
    output.document({"name": str(ref), **inspected.to_dict(), "attached": [claim.to_dict() for claim in attached]})
    if not output.as_json:
        _show(output, str(ref), inspected)
        _show_attached(output, attached)


def _read(place: Place, descriptor: Descriptor) -> bytes:
    return place.document(descriptor).content if is_document(descriptor) else place.blob(descriptor, _MAX_BLOB)


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


def _show_attached(output: Output, attached: Sequence[Claim]) -> None:
    if not attached:
        return
    rows = [[c.kind, c.predicate_type, c.format, c.signer or "not said"] for c in attached]
    output.table(
        Table(("attached", "type", "format", "says it is by"), rows, title="\nnot verified: see `modelcar verify`")
    )
