"""What a build would make, layer by layer, as `plan` and `build --dry-run` show it."""

from __future__ import annotations

from modelcar.checkpoint import Checkpoint
from modelcar.cli.images import existing_local_store
from modelcar.cli.output import Output, Table, human_size
from modelcar.cli.uploads import preflight_document, show_preflight
from modelcar.packaging.digests import known_digests
from modelcar.packaging.plan import PlannedLayer
from modelcar.registry.preflight import Preflight

__all__ = ["show_plan"]


def show_plan(
    output: Output, checkpoint: Checkpoint, layers: list[PlannedLayer], ahead: Preflight | None = None
) -> None:
    """Print the layers, what is left out, how many bytes a build would have to read, and what a registry says to it."""
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
                    "digest": str(found.blob) if found else None,
                    "files": [
                        {"path": f.path, "size": f.size, "role": f.role, "format": f.format} for f in layer.files
                    ],
                }
                for layer, found in zip(layers, known, strict=True)
            ],
            "excluded": list(checkpoint.excluded),
            "notes": list(facts.notes),
            "bytesToRead": to_read,
            **({"registry": preflight_document(ahead)} if ahead is not None else {}),
        }
    )
    rows = [
        [layer.label, layer.kind, human_size(layer.size), found.blob.short if found else "to be hashed"]
        for layer, found in zip(layers, known, strict=True)
    ]
    output.table(Table(columns=("layer", "kind", "size", "sha256"), rows=rows, right=frozenset({"size"})))
    for path in checkpoint.excluded:
        output.line(f"left out: {path}")
    output.line(f"a build would read {human_size(to_read)} and write no weights")
    if ahead is not None:
        show_preflight(ahead, output)
