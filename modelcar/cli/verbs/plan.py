"""`modelcar plan`."""

from __future__ import annotations

import click

from modelcar.cli.layer_plans import show_plan
from modelcar.cli.models import describe
from modelcar.cli.options import max_layers_option, network_options, output_options, packing_options
from modelcar.cli.output import Output
from modelcar.cli.rank_plans import show_all_ranks, show_rank_plan
from modelcar.cli.ranks import RankChoice, rank_options
from modelcar.cli.source import Wishes, open_source, source_options
from modelcar.cli.uploads import look_ahead
from modelcar.errors import UsageError
from modelcar.images.bases import own_bases
from modelcar.packaging.outline import outline_image
from modelcar.packaging.plan import Packing
from modelcar.registry import ClientSettings


@click.command("plan")
@click.argument("target", metavar="SOURCE|REF")
@max_layers_option
@source_options
@packing_options
@rank_options
@click.option(
    "--registry", metavar="REGISTRY", help="Also say what this registry is known not to take, such as ghcr.io."
)
@click.option("--remote", is_flag=True, help="Ask the registry even if the local store has the image.")
@network_options
@output_options
def command(
    target: str,
    max_layers: int,
    wishes: Wishes,
    packing: Packing,
    choice: RankChoice | None,
    registry: str | None,
    remote: bool,
    settings: ClientSettings,
    output: Output,
) -> None:
    """Show what `build` would make, or what a rank needs.

    No weights are read. Without options it is what `build` would make of SOURCE; layers whose digest is known from an
    earlier build are shown with it, the others would have to be read.

    With --tp, --pp or --ep the model in SOURCE or REF is divided as inference servers do it. With --rank the answer
    says which bytes of which files that rank needs.

    \b
      modelcar plan ./my-model
      modelcar plan ./my-model --estargz
      modelcar plan ghcr.io/acme/llm:v1 --tp 8 --pp 2
      modelcar plan ghcr.io/acme/llm:v1 --tp 8 --pp 2 --rank 0-7 --json
    """
    if choice is not None and packing is not Packing.TAR:
        raise UsageError("what a rank needs does not depend on how layers are packed", hint=f"leave out --{packing}")
    if choice is not None:
        model = describe(target, remote=remote, settings=settings, output=output, wishes=wishes)
        if choice.ranks:
            show_rank_plan(output, target, model, choice)
        else:
            show_all_ranks(output, target, model, choice)
        return
    checkpoint = open_source(target, output, wishes)
    outline = outline_image(checkpoint, own_bases("holder", ()), max_layers=max_layers, packing=packing)
    show_plan(output, outline, look_ahead(registry, outline) if registry is not None else None)
