"""The page of an image: what it is made of, what vouches for it, and what of it another one has, too."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from modelcar.checkpoint.facts import format_parameters
from modelcar.cli.layers import ImageLayer, Shared, layers_of
from modelcar.cli.output import human_size
from modelcar.cli.pages.claimed import ClaimedVerdict, spoken
from modelcar.cli.pages.document import render
from modelcar.cli.pages.pictures import Bar, bar, by_kind, tiles
from modelcar.cli.pages.places import Places
from modelcar.cli.pages.tensors import tensors_part
from modelcar.cli.pages.texts import shown
from modelcar.images.described import DescribedModel, one_copy
from modelcar.packaging.inspect import Inspected
from modelcar.signing.claims import Claim

__all__ = ["ImageView", "facts_of", "image_page", "title_of"]

_MOST_ROWS: Final = 150  # of any table but that of the tensors
_COUNT: Final = re.compile(r"[0-9]{1,18}")
_COLUMNS: Final = ("mono", "", "number", "number", "")  # classes of the cells of a tensor's row
_WORST_FIRST: Final = ("malicious", "unverified", "clean")
_OCI: Final = "org.opencontainers.image."
_OURS: Final = "dev.modelcar.model."
# What config.json says of a transformer's shape, and what people call it.
_SHAPE: Final = {
    "num_hidden_layers": "blocks",
    "hidden_size": "hidden size",
    "num_attention_heads": "attention heads",
    "num_key_value_heads": "key-value heads",
    "num_local_experts": "experts",
    "vocab_size": "vocabulary",
    "max_position_embeddings": "context",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageView:
    """All that is shown of one image.

    Attributes:
        attached, verdicts: as they present themselves; nobody has verified them.
        config: the model's `config.json`; empty where there is none, or a `problem` with it.
        shared: what another image has of it, if one was named.
    """

    name: str
    inspected: Inspected
    attached: Sequence[Claim] = ()
    verdicts: Sequence[ClaimedVerdict] = ()
    config: Mapping[str, Any]
    problem: str | None = None
    shared: Shared | None = None

    @property
    def model(self) -> DescribedModel:
        """Its files and tensors as the model index has them, each weight once."""
        index = self.inspected.model
        files, copies = one_copy(file for layer in (index.layers if index else ()) for file in layer.files)
        return DescribedModel(files=files, config=self.config, copies=copies)

    @property
    def annotations(self) -> dict[str, str]:
        """Those of the image; where it has none, those of its first manifest."""
        manifests = self.inspected.manifests
        return self.inspected.annotations or (dict(manifests[0].manifest.annotations) if manifests else {})


def image_page(view: ImageView) -> bytes:
    """The page, of at most some 2 MiB however much there is to show."""
    places = Places()
    layers, model = layers_of(view.inspected), view.model
    tensors = tensors_part(model, places)
    shared = view.shared
    return render(
        "inspect.html",
        places,
        {"rows": tensors.listed if tensors else [], "columns": _COLUMNS, "what": "tensors"},
        name=view.name,
        title=title_of(view),
        about=view.annotations.get(f"{_OCI}description", ""),
        digest=view.inspected.root.digest,
        total=sum(layer.size for layer in layers),
        layer_count=len(layers),
        facts=facts_of(view, layers, tensors.count if tensors else 0),
        shape=_shape(view.config),
        tiles=tiles(layers, shared.layers if shared else frozenset(), places),
        kinds=by_kind(layers),
        tensors=tensors,
        shared=shared,
        shared_bar=_shared_bar(shared, places) if shared else None,
        claims=[(spoken(c.predicate_type), c.kind, c.format, c.signer) for c in view.attached[:_MOST_ROWS]],
        verdicts=view.verdicts[:_MOST_ROWS],
        worst=next((said for said in _WORST_FIRST if any(v.verdict == said for v in view.verdicts)), ""),
        standing=_standing(view),
        files=_bounded(model.files),
        manifests=_bounded(view.inspected.manifests),
        annotations=_rows(view.annotations),
        config=_rows(view.config),
        problem=view.problem,
        runtime=_rows(next((m.config.runtime for m in view.inspected.manifests if m.config), {})),
    )


def title_of(view: ImageView) -> str:
    """What people call the model: its title, else the last part of its name."""
    last = view.name.partition("@")[0].rpartition("/")[2]
    return view.annotations.get(f"{_OCI}title") or last or view.name


def facts_of(view: ImageView, layers: Sequence[ImageLayer], tensors: int) -> list[tuple[str, str]]:
    """What matters first, named; only what is known."""
    said = view.annotations
    parameters = said.get(f"{_OURS}parameters", "")
    count = format_parameters(int(parameters)) if _COUNT.fullmatch(parameters) else None
    precision = " ".join(filter(None, (said.get(f"{_OURS}quantization"), said.get(f"{_OURS}precision"))))
    facts = [
        ("Size", human_size(sum(layer.size for layer in layers))),
        ("Parameters", count),
        ("Architecture", said.get(f"{_OURS}architecture")),
        ("Precision", precision),
        ("Tensors", f"{tensors:,}" if tensors else None),
        ("Layers", f"{len(layers):,}"),
        ("Licence", said.get(f"{_OCI}licenses") or "not said"),
    ]
    return [(name, shown(value, 60)) for name, value in facts if value]


def _standing(view: ImageView) -> str:
    """What is attached to the image, in a few words; that nobody has verified it is one of them."""
    kinds = sorted({(claim.kind != "signature", spoken(claim.predicate_type)) for claim in view.attached})
    if not kinds:
        return "neither signed nor scanned"
    words = [] if kinds[0] == (False, "signature") else ["not signed"]
    words += [shown(word, 60) for _, word in kinds[:5]]
    return f"{', '.join(words)}; nothing of it verified here"


def _shape(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    inner = config.get("text_config")
    known = {**inner, **config} if isinstance(inner, dict) else config
    return [(word, f"{known[key]:,}") for key, word in _SHAPE.items() if type(known.get(key)) is int]


def _shared_bar(shared: Shared, places: Places) -> Bar:
    count, rest = len(shared.layers), shared.total - shared.size
    parts = [("in both", "same", shared.size, count), ("only here", "weights", rest, 0)]
    return bar("shared", parts, shared.total, places)


def _rows(values: Mapping[str, Any]) -> tuple[list[tuple[str, str]], int]:
    """Names and values as text, and how many were left out."""
    rows = [
        (key, value if isinstance(value, str) else _json(value)) for key, value in islice(values.items(), _MOST_ROWS)
    ]
    return sorted(rows), len(values) - len(rows)


def _json(value: Any) -> str:
    return (
        json.dumps(value, ensure_ascii=False) if not isinstance(value, list | dict) else shown(json.dumps(value), 300)
    )


def _bounded(values: Sequence[Any]) -> tuple[Sequence[Any], int]:
    return values[:_MOST_ROWS], max(0, len(values) - _MOST_ROWS)
