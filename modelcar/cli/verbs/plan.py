"""`modelcar plan`."""

from __future__ import annotations

import click

from modelcar.checkpoint import Checkpoint
from modelcar.cli.images import existing_local_store
from modelcar.cli.options import max_layers_option, output_options
from modelcar.cli.output import Output, Table, human_size
from modelcar.cli.source import open_source
from modelcar.packaging.digests import known_digests
from modelcar.packaging.plan import PlannedLayer, plan_layers


@click.command("plan")
@click.argument("source")
@max_layers_option
@output_options
def command(source: str, max_layers: int, output: Output) -> None:
    """Show what `build` would make of SOURCE, reading no weights.

    Layers whose digest is known from an earlier build are shown with it; the others would have to be read.
    """
    checkpoint = open_source(source, output)
    show_plan(output, checkpoint, plan_layers(checkpoint, max_layers=max_layers))


def show_plan(output: Output, checkpoint: Checkpoint, layers: list[PlannedLayer]) -> None:
    """Print the layers, what is left out, and how many bytes a build would have to read."""
    store = existing_local_store()
    known = [known_digests(layer, store.memo) if store else None for layer in layers]
    to_read = sum(layer.size for layer, found in zip(layers, known, strict=True) if found is None)
    facts = checkpoint.facts()
    output.document(
        {
            "source": str(checkpoint.root),
            "annotations": facts.annotations(),
            "layers": [
                {
                    "kind": layer.kind,
                    "label": layer.label,
                    "size": layer.size,
                    "digest": str(found.digest) if found else None,
                    "files": [
                        {"path": f.path, "size": f.size, "role": f.role, "format": f.format} for f in layer.files
                    ],
                }
                for layer, found in zip(layers, known, strict=True)
            ],
            "excluded": list(checkpoint.excluded),
            "notes": list(facts.notes),
            "bytesToRead": to_read,
        }
    )
    rows = [
        [layer.label, layer.kind, human_size(layer.size), found.digest.short if found else "to be hashed"]
        for layer, found in zip(layers, known, strict=True)
    ]
    output.table(Table(columns=("layer", "kind", "size", "sha256"), rows=rows, right=frozenset({"size"})))
    for path in checkpoint.excluded:
        output.line(f"left out: {path}")
    output.line(f"a build would read {human_size(to_read)} and write no weights")
