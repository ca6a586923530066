"""`modelcar inspect`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from modelcar.cli.layers import Shared, layers_of, shared_layers
from modelcar.cli.models import describe, is_source
from modelcar.cli.options import network_options, output_options
from modelcar.cli.output import Output, Table, human_size
from modelcar.cli.pages.writing import check_page_target, html_option, write_page
from modelcar.cli.places import image_source, open_place
from modelcar.cli.tensors import show_tensors, tensors_to_dict
from modelcar.errors import InvalidContent, NotFound, UsageError
from modelcar.images.reader import ModelReader
from modelcar.layers.index import ModelIndex
from modelcar.oci import Descriptor
from modelcar.packaging.fetch import RangedSource
from modelcar.packaging.inspect import Inspected, InspectedManifest, inspect_image
from modelcar.packaging.locations import Location, parse_location
from modelcar.registry import ClientSettings
from modelcar.signing.carried_trust import CarriedTrust, read_carried_trust
from modelcar.signing.claims import Claim, claims
from modelcar.signing.evidence import gather_evidence
from modelcar.signing.places import LayoutPlace, RegistryPlace
from modelcar.store import ArchiveStore

if TYPE_CHECKING:  # without a page, inspecting starts without what makes pages
    from modelcar.cli.pages.image import ImageView


@click.command("inspect")
@click.argument("target", metavar="REF|SOURCE")
@click.option("--tensors", is_flag=True, help="List the tensors, of a folder or file, too.")
@click.option("--against", metavar="REF", help="Say how much of it another image has, too.")
@html_option("all of it")
@click.option("--markdown", is_flag=True, help="Print Markdown, for the summary of a CI job.")
@click.option("--remote", is_flag=True, help="Ask the registry even if the local store has the image.")
@network_options
@output_options
def command(
    target: str,
    tensors: bool,
    against: str | None,
    html: str | None,
    markdown: bool,
    remote: bool,
    settings: ClientSettings,
    output: Output,
) -> None:
    """Show what an image is made of, without reading weights.

    Its platforms, layers, files, tensors and signatures; these as they present themselves, `modelcar verify` says
    whether they are true. Looks in the local store first, then in the registry.

    With --tensors it is the name, dtype, shape, size and place of every tensor, and totals by dtype.

    With --html it is a page to look at and to pass on: pictures of layers and tensors, and what belongs to them.

    \b
      modelcar inspect ghcr.io/acme/llm:v1
      modelcar inspect ./my-model --tensors
      modelcar inspect ghcr.io/acme/llm:v2 --against ghcr.io/acme/llm:v1 --html llm.html
    """
    if markdown and (output.as_json or html == "-"):
        raise UsageError("--markdown and another form both want standard output", hint="leave one of them out")
    if tensors and (html is not None or markdown or against is not None):
        raise UsageError("--tensors is a list of its own", hint="leave it out: --html and --markdown have tensors, too")
    if html is not None:
        check_page_target(html, output)
    if tensors:
        model = describe(target, remote=remote, settings=settings, output=output)
        output.document({"name": target, **tensors_to_dict(model)})
        show_tensors(output, model)
    elif is_source(target):
        raise UsageError(f"{target} is no image", hint="with --tensors also folders and files are looked into")
    else:
        looker = _Looker(remote, settings, html=html, markdown=markdown)
        looker.look(parse_location(target), parse_location(against) if against is not None else None, output)


class _Looker:
    """Looks into one image, and answers in the form that is wanted."""

    def __init__(self, remote: bool, settings: ClientSettings, *, html: str | None, markdown: bool) -> None:
        self._remote, self._settings = remote, settings
        self._html, self._markdown = html, markdown

    def look(self, ref: Location, against: Location | None, output: Output) -> None:
        with ExitStack() as stack:
            place, root = open_place(ref, remote=self._remote, settings=self._settings, stack=stack)
            source = image_source(place, root)
            inspected = inspect_image(root, source.read)
            evidence = gather_evidence(place, root.digest)
            attached = claims(root.digest, evidence)
            carried = _carried(place)
            shared = self._shared(inspected, against) if against is not None else None
            view = None
            if self._html is not None or self._markdown:
                from modelcar.cli.pages.claimed import claimed_verdicts
                from modelcar.cli.pages.image import ImageView

                config, problem = _config(source, root)
                view = ImageView(
                    name=str(ref),
                    inspected=inspected,
                    attached=attached,
                    verdicts=claimed_verdicts(root.digest, evidence),
                    config=config,
                    problem=problem,
                    shared=shared,
                )
        output.document(_document(ref, inspected, attached, carried, shared))
        if view is None:
            _show(output, ref, inspected, attached, carried, shared)
        else:
            self._answer(view, output)

    def _answer(self, view: ImageView, output: Output) -> None:
        if self._html is not None:
            from modelcar.cli.pages.image import image_page

            write_page(image_page(view), self._html, output.aside if self._markdown else output.line)
        if self._markdown:
            from modelcar.cli.pages.markdown import image_markdown

            for line in image_markdown(view).split("\n"):
                output.line(line)

    def _shared(self, inspected: Inspected, against: Location) -> Shared:
        with ExitStack() as stack:
            place, root = open_place(against, remote=self._remote, settings=self._settings, stack=stack)
            other = inspect_image(root, image_source(place, root).read, models=None)
        return shared_layers(layers_of(inspected), str(against), other)


def _config(source: RangedSource, root: Descriptor) -> tuple[dict[str, Any], str | None]:
    """The model's own configuration, and why there is none where that is not as it should be."""
    try:
        return ModelReader(source, root).config(), None
    except (NotFound, UsageError):  # others' images, and layers that are compressed
        return {}, None
    except InvalidContent as e:
        return {}, str(e)


def _document(
    ref: Location,
    inspected: Inspected,
    attached: Sequence[Claim],
    carried: CarriedTrust | None,
    shared: Shared | None,
) -> dict[str, Any]:
    answer = {"name": str(ref), **inspected.to_dict(), "attached": [claim.to_dict() for claim in attached]}
    if carried is not None:
        answer["trust"] = carried.to_dict()
    if shared is not None:
        answer["against"] = shared.to_dict()
    return answer


def _show(
    output: Output,
    ref: Location,
    inspected: Inspected,
    attached: Sequence[Claim],
    carried: CarriedTrust | None,
    shared: Shared | None,
) -> None:
    output.line(str(ref))
    output.line(str(inspected.root.digest))
    for key, value in sorted(inspected.annotations.items()):
        output.line(f"  {key}: {value}")
    output.table(_manifests(inspected))
    output.table(_layers(inspected, shared))
    if shared is not None:
        output.line(str(shared))
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


def _manifests(inspected: Inspected) -> Table:
    rows = [[m.kind, _platform(m), human_size(m.size), m.descriptor.digest.short] for m in inspected.manifests]
    columns = ("manifest", "platform", "size", "sha256")
    return Table(columns=columns, rows=rows, right=frozenset({"size"}), title="manifests")


def _platform(manifest: InspectedManifest) -> str:
    return str(manifest.config.platform) if manifest.config else ""


def _layers(inspected: Inspected, shared: Shared | None) -> Table:
    """Every layer once, and which of the manifests have it."""
    layers = layers_of(inspected)
    rows = [[x.label, human_size(x.size), x.digest.short, x.media_type, x.within] for x in layers]
    columns = ["layer", "size", "sha256", "type", "in"]
    if shared is not None:
        columns.append("shared")
        rows = [[*row, "yes" if x.digest in shared.layers else ""] for row, x in zip(rows, layers, strict=True)]
    return Table(columns=columns, rows=rows, right=frozenset({"size"}), title="layers, bottom to top")


def _files(model: ModelIndex) -> Table:
    rows = [
        [f.path, f.role, f.format or "", human_size(f.size), str(len(f.tensors) or "")]
        for layer in model.layers
        for f in layer.files
    ]
    columns = ("file", "role", "format", "size", "tensors")
    return Table(columns=columns, rows=rows, right=frozenset({"size", "tensors"}), title=f"files in {model.root}")
