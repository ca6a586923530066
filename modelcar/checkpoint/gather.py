"""Facts about a model, gathered from its card, its configuration, its headers and its commit."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from modelcar.checkpoint.adapters import ADAPTER_CONFIG
from modelcar.checkpoint.card import MAX_CARD, Card, parse_card
from modelcar.checkpoint.facts import ModelFacts
from modelcar.checkpoint.file import Role
from modelcar.checkpoint.formats.documents import read_bytes, read_object
from modelcar.checkpoint.licenses import spdx_of
from modelcar.checkpoint.weights import is_projector, weigh

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelcar.checkpoint.checkpoint import Checkpoint

__all__ = ["gather_facts", "licenses_of"]

_PIPELINE_CONFIG = "model_index.json"  # of diffusers
_REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_MAX_TEXT = 200


def gather_facts(checkpoint: Checkpoint) -> ModelFacts:
    """All that is known about the model in `checkpoint`.

    Raises:
        MalformedFile: `config.json` or a header cannot be read.
    """
    config, pipeline, adapter = (_object(checkpoint, n) for n in ("config.json", _PIPELINE_CONFIG, ADAPTER_CONFIG))
    gguf = _gguf_metadata(checkpoint)
    card, notes = _card(checkpoint)
    weights = weigh(checkpoint.headers(), config, components=bool(pipeline))
    repo = checkpoint.provenance.repo
    vendor, _, short = (repo or "").rpartition("/")
    architectures = config.get("architectures")
    first = architectures[0] if isinstance(architectures, list) and architectures else None
    family = _text(config.get("model_type")) or _text(gguf.get("general.architecture"))
    return ModelFacts(
        name=short or _text(gguf.get("general.name")),
        title=card.text("model_name") or card.title or short or _text(gguf.get("general.name")),
        description=card.description or _text(gguf.get("general.description")),
        family=family,
        architecture=_text(first) or _text(pipeline.get("_class_name")) or family,
        parameter_count=weights.parameters,
        precision=weights.precision,
        quantization=weights.quantization,
        format=_dominant_format(checkpoint),
        licenses=licenses_of(card, gguf),
        languages=card.texts("language") or _texts(gguf.get("general.languages")),
        base_models=card.texts("base_model") or _base_of_adapter(adapter),
        datasets=card.texts("datasets"),
        authors=tuple(filter(None, [_text(gguf.get("general.author"))])),
        vendor=vendor or _text(gguf.get("general.organization")),
        library=card.text("library_name"),
        pipeline_tag=card.text("pipeline_tag"),
        repo=repo,
        revision=checkpoint.provenance.revision,
        version=_text(gguf.get("general.version")),
        url=checkpoint.provenance.url,
        notes=notes,
    )


def _object(checkpoint: Checkpoint, path: str) -> dict[str, Any]:
    file = checkpoint.file(path)
    return read_object(file) if file else {}


def _gguf_metadata(checkpoint: Checkpoint) -> dict[str, Any]:
    """What all GGUF files agree on, projectors left aside."""
    agreed: dict[str, Any] | None = None
    for header in checkpoint.headers().values():
        if header.format != "gguf" or is_projector(header):
            continue
        metadata = {key: value for key, value in header.metadata.items() if key.startswith("general.")}
        if metadata.get("general.architecture") is None and agreed is not None:
            continue  # the later shards of a split file say nothing
        agreed = metadata if agreed is None else dict(agreed.items() & metadata.items())
    return agreed or {}


def _card(checkpoint: Checkpoint) -> tuple[Card, tuple[str, ...]]:
    cards = [file for file in checkpoint.files if file.role is Role.CARD and not file.folder]
    file = min(cards, key=lambda file: (file.name.lower() != "readme.md", file.name), default=None)
    if file is None:
        return Card(), ()
    if file.size > MAX_CARD:
        return Card(), (f"{file.path} has more than {MAX_CARD} bytes and was not read",)
    card = parse_card(read_bytes(file).decode(errors="replace"))
    return card, (f"{file.path}: {card.problem}",) if card.problem else ()


def licenses_of(card: Card, gguf: Mapping[str, Any]) -> tuple[str, ...]:
    """The licences that a card, or else the metadata of a GGUF file, names, as SPDX expressions."""
    name = card.text("license_name") or _text(gguf.get("general.license.name"))
    tags = card.texts("license") or tuple(filter(None, [_text(gguf.get("general.license"))]))
    return tuple(dict.fromkeys(filter(None, (spdx_of(tag, name) for tag in tags))))


def _base_of_adapter(adapter: Mapping[str, Any]) -> tuple[str, ...]:
    """What an adapter was trained on, if that is a name on the Hub and not a path on somebody's disk."""
    base = adapter.get("base_model_name_or_path")
    return (base,) if isinstance(base, str) and _REPO.fullmatch(base) else ()


def _dominant_format(checkpoint: Checkpoint) -> str | None:
    sizes: Counter[str] = Counter()
    for file in checkpoint.files:
        if file.role is Role.WEIGHT and file.format:
            sizes[file.format] += file.size
    return max(sizes, key=lambda found: (sizes[found], found), default=None)


def _text(value: object) -> str | None:
    """`value` as one short line, if it is a text with something in it."""
    if not isinstance(value, str):
        return None
    line = " ".join("".join(c if c.isprintable() else " " for c in value).split())
    return line[:_MAX_TEXT] or None


def _texts(value: object) -> tuple[str, ...]:
    return tuple(filter(None, map(_text, value))) if isinstance(value, tuple) else ()
