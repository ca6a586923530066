"""`modelcar inspect`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import click

from modelcar.cli.models import describe, is_source
from modelcar.cli.options import network_options, output_options
from modelcar.cli.output import Output, Table, human_size
from modelcar.cli.places import image_source, open_place
from modelcar.cli.tensors import show_tensors, tensors_to_dict
from modelcar.errors import UsageError
from modelcar.layers.index import ModelIndex
from modelcar.oci import Descriptor, Digest
from modelcar.packaging.annotations import LAYER
from modelcar.packaging.inspect import Inspected, InspectedManifest, inspect_image
from modelcar.packaging.locations import Location, parse_location
from modelcar.registry import ClientSettings
from modelcar.signing.carried_trust import CarriedTrust, read_carried_trust
from modelcar.signing.claims import Claim, claims
from modelcar.signing.evidence import gather_evidence
from modelcar.signing.places import LayoutPlace, RegistryPlace
from modelcar.store import ArchiveStore


@click.command("inspect")
@click.argument("target", metavar="REF|SOURCE")
@click.option("--tensors", is_flag=True, help="List the tensors, of a folder or file, too.")
@click.option("--remote", is_flag=True, help="Ask the registry even if the local store has the image.")
@network_options
@output_options
def command(target: str, tensors: bool, remote: bool, settings: ClientSettings, output: Output) -> None:
    """Show what an image is made of, without reading weights.

    Its platforms, layers, files, tensors and signatures; these as they present themselves, `modelcar verify` says
    whether they are true. Looks in the local store first, then in the registry.

    With --tensors it is the name, dtype, shape, size and place of every tensor, and totals by dtype.

    \b
      modelcar inspect ghcr.io/acme/llm:v1
      modelcar inspect ./my-model --tensors
    """
    if tensors:
        model = describe(target, remote=remote, settings=settings, output=output)
        output.document({"name": target, **tensors_to_dict(model)})
        show_tensors(output, model)
    elif is_source(target):
        raise UsageError(f"{target} is no image", hint="with --tensors also folders and files are looked into")
    else:
        _show_image(parse_location(target), remote, settings, output)


def _show_image(ref: Location, remote: bool, settings: ClientSettings, output: Output) -> None:
    with ExitStack() as stack:
        place, root = open_place(ref, remote=remote, settings=settings, stack=stack)
        inspected = inspect_image(root, image_source(place, root).read)
        attached = claims(root.digest, gather_evidence(place, root.digest))
        carried = _carried(place)
    answer = {"name": str(ref), **inspected.to_dict(), "attached": [claim.to_dict() for claim in attached]}
    if carried is not None:
        answer["trust"] = carried.to_dict()
    output.document(answer)
    output.line(str(ref))
    output.line(str(inspected.root.digest))
    for key, value in sorted(inspected.annotations.items()):
        output.line(f"  {key}: {value}")
    output.table(_manifests(inspected))
    output.table(_layers(inspected))
    if inspected.model is not None:
        output.table(_files(inspected.model))
    if attached:
        output.table(_attached(attached))
    if carried is not None and (rows := _fingerprints(carried)):
        title = "carried, trusted by nobody: compare the fingerprints with what you were told another way"
        output.table(Table(columns=("trust", "fingerprint"), rows=rows, title=title))


def _carried(place: RegistryPlace | LayoutPlace) -> CarriedTrust | None:
    archive = place.layout if isinstance(place, LayoutPlace) else None
    return read_carried_trust(archive) if isinstance(archive, ArchiveStore) else None


def _fingerprints(carried: CarriedTrust) -> list[list[str]]:
    rows = [[f"key, {key.kind}", key.fingerprint] for key in carried.keys]
    return [*rows, ["trusted root", carried.root_digest]] if carried.root_digest else rows


def _attached(attached: Sequence[Claim]) -> Table:
    rows = [[c.kind, c.predicate_type, c.format, c.signer or "not said"] for c in attached]
    columns = ("attached", "type", "format", "says it is by")
    return Table(columns=columns, rows=rows, title="attached; not verified, see `modelcar verify`")


def _place(manifest: InspectedManifest) -> str:
    return str(manifest.config.platform) if manifest.config else manifest.kind


def _manifests(inspected: Inspected) -> Table:
    rows = [
        [m.kind, str(m.config.platform) if m.config else "", human_size(m.size), m.descriptor.digest.short]
        for m in inspected.manifests
    ]
    columns = ("manifest", "platform", "size", "sha256")
    return Table(columns=columns, rows=rows, right=frozenset({"size"}), title="manifests")


def _layers(inspected: Inspected) -> Table:
    """Every layer once, and which of the manifests have it."""
    layers: dict[Digest, Descriptor] = {}
    places: dict[Digest, list[str]] = {}
    for m in inspected.manifests:
        for layer in {d.digest: d for d in m.manifest.layers}.values():
            layers.setdefault(layer.digest, layer)
            places.setdefault(layer.digest, []).append(_place(m))
    rows = []
    for digest, layer in layers.items():
        where = "all" if len(places[digest]) == len(inspected.manifests) else ", ".join(places[digest])
        rows.append([_label(layer, inspected.model), human_size(layer.size), digest.short, _type(layer), where])
    columns = ("layer", "size", "sha256", "type", "in")
    return Table(columns=columns, rows=rows, right=frozenset({"size"}), title="layers, bottom to top")


def _type(layer: Descriptor) -> str:
    """The media type without what all of them have in common."""
    return layer.media_type.removeprefix("application/vnd.").removeprefix("oci.image.layer.v1.")


def _label(layer: Descriptor, model: ModelIndex | None) -> str:
    kind = layer.annotations.get(LAYER, "")
    files = [f.path for x in (model.layers if model else ()) if x.listed_as == layer.digest for f in x.files]
    holds = files[0] if len(files) == 1 else f"{len(files)} files" if files else ""
    return f"{kind}: {holds}" if holds else kind


def _files(model: ModelIndex) -> Table:
    rows = [
        [f.path, f.role, f.format or "", human_size(f.size), str(len(f.tensors) or "")]
        for layer in model.layers
        for f in layer.files
    ]
    columns = ("file", "role", "format", "size", "tensors")
    return Table(columns=columns, rows=rows, right=frozenset({"size", "tensors"}), title=f"files in {model.root}")
