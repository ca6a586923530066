"""What a build would make, layer by layer, as `plan` and `build --dry-run` show it."""

from __future__ import annotations

from typing import Any

from modelcar.cli.images import existing_local_store
from modelcar.cli.output import Output, Table, human_size
from modelcar.cli.uploads import preflight_document, show_preflight
from modelcar.layers.hashing import LayerDigests
from modelcar.oci import Descriptor, Digest
from modelcar.packaging.annotations import LAYER
from modelcar.packaging.base import Base
from modelcar.packaging.digests import known_digests
from modelcar.packaging.model_base import ModelBaseLayer
from modelcar.packaging.outline import Outline
from modelcar.packaging.plan import MODEL_ROOT, PlannedLayer
from modelcar.registry.preflight import Preflight

__all__ = ["show_plan"]


def show_plan(output: Output, outline: Outline, ahead: Preflight | None = None) -> None:
    """Print the layers, what is left out, how many bytes a build would have to read, and what a registry says to it.

    The layer with the model index and our holder's are in every image, and not shown.
    """
    store = existing_local_store()
    known = [known_digests(layer, store.memo) if store else None for layer in outline.layers]
    to_read = sum(layer.size for layer, found in zip(outline.layers, known, strict=True) if found is None)
    layers = [
        *map(_beneath, outline.below),
        *(_planned(layer, found) for layer, found in zip(outline.layers, known, strict=True)),
        *(_of_base(base, layer) for base in outline.bases for layer in base.layers if LAYER not in layer.annotations),
    ]
    checkpoint = outline.checkpoint
    output.document(
        {
            "source": str(checkpoint.root),
            "annotations": dict(outline.annotations),
            "layers": layers,
            "excluded": list(checkpoint.excluded),
            "notes": list(checkpoint.facts().notes),
            "bytesToRead": to_read,
            **({"registry": preflight_document(ahead)} if ahead is not None else {}),
        }
    )
    rows = [
        [layer["label"], layer["kind"] or "base", human_size(layer["size"]), _short(layer["digest"])]
        for layer in layers
    ]
    output.table(Table(columns=("layer", "kind", "size", "sha256"), rows=rows, right=frozenset({"size"})))
    for path in checkpoint.excluded:
        output.line(f"left out: {path}")
    output.line(f"a build would read {human_size(to_read)} and write no weights")
    if ahead is not None:
        show_preflight(ahead, output)


def _planned(layer: PlannedLayer, found: LayerDigests | None) -> dict[str, Any]:
    return {
        "kind": layer.kind,
        "label": layer.label,
        "size": layer.size,
        "digest": str(found.blob) if found else None,
        "files": [
            {
                "path": layer.place(f).removeprefix(f"{MODEL_ROOT}/"),
                "size": f.size,
                "role": f.role,
                "format": f.format,
            }
            for f in layer.files
        ],
    }


def _beneath(layer: ModelBaseLayer) -> dict[str, Any]:
    """Of the image that this is an adapter of."""
    return {
        "kind": layer.kind,
        "label": layer.label,
        "size": layer.descriptor.size,
        "digest": str(layer.digest),
        "files": [{"path": f.path, "size": f.size, "role": f.role, "format": f.format} for f in layer.indexed.files],
    }


def _of_base(base: Base, layer: Descriptor) -> dict[str, Any]:
    """Of the image whose programs this one runs."""
    label = f"base {base.config.platform}"
    return {"kind": None, "label": label, "size": layer.size, "digest": str(layer.digest), "files": []}


def _short(digest: str | None) -> str:
    return Digest.parse(digest).short if digest is not None else "to be hashed"
