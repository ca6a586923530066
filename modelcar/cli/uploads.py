"""What verbs that upload have in common: what they remember of registries, and what they say of the bytes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from modelcar.cli.output import Output
from modelcar.errors import InvalidReference, StorageError
from modelcar.oci import Reference
from modelcar.packaging.outline import Outline
from modelcar.registry import ClientSettings, Registry
from modelcar.registry.preflight import Preflight
from modelcar.store import default_home

__all__ = ["look_ahead", "moved_document", "preflight_document", "remembering", "show_preflight"]


def remembering(settings: ClientSettings, limit_rate: float | None = None) -> ClientSettings:
    """`settings` for an upload: one that was killed goes on, and what registries take is tried out once."""
    try:
        state = default_home() / "registries"
    except StorageError:
        state = None  # no home folder; nothing that an upload needs
    return replace(settings, state=state, limit_rate=limit_rate)


def moved_document(registry: Registry) -> dict[str, int]:
    """For `--json`."""
    moved = registry.moved
    return {"sent": moved.sent, "reused": moved.reused}


def look_ahead(registry: str, outline: Outline) -> Preflight:
    """What is known of pushing this image to a registry, by its name or that of a repository there.

    Raises:
        InvalidReference: it is no name.
    """
    ref = Reference.parse(registry if "/" in registry else f"{registry}/any")
    if ref.repository.startswith(f"{registry}/"):  # a word without a dot is a folder of Docker Hub
        raise InvalidReference(f"{registry!r} is not the name of a registry", hint="such as ghcr.io or localhost:5000")
    with Registry(remembering(ClientSettings())) as client:
        return client.preflight(ref, {layer.label: layer.size for layer in outline.layers}, outline.manifests)


def show_preflight(found: Preflight, output: Output) -> None:
    for line in (*found.problems, *found.notes):
        output.line(f"{found.registry}: {line}")
    if found.problems:
        output.line(f"what to do: {found.hint}")
    else:
        output.line(f"nothing is known that keeps these layers from {found.registry}")


def preflight_document(found: Preflight) -> dict[str, Any]:
    """For `--json`."""
    dialect = found.dialect
    return {
        "registry": found.registry,
        "family": dialect.family,
        "largestLayer": dialect.largest_layer,
        "longestUpload": dialect.longest_upload,
        "problems": list(found.problems),
        "notes": list(found.notes),
        "hint": found.hint if found.problems else None,
    }
