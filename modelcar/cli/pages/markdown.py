"""An image as Markdown, for the summary of a CI job: compact, and inert whatever is written in the image."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from typing import Final

from modelcar.cli.layers import layers_of
from modelcar.cli.output import human_size, percent
from modelcar.cli.pages.claimed import spoken
from modelcar.cli.pages.image import ImageView, facts_of, title_of
from modelcar.cli.pages.texts import shown
from modelcar.cli.tensors import dtype_totals, tensors_of

__all__ = ["image_markdown"]

_MOST_ROWS: Final = 40
# Marks, and what GitHub makes a link of without any: `@name`, `#1`, `http://` and `www.`
_MARKS: Final = re.compile(r"([\\`*_\[\]#|~@]|:(?=//)|(?<=www)\.)", re.IGNORECASE)


def image_markdown(view: ImageView) -> str:
    """Some tables; at most some 100 KiB."""
    layers, model = layers_of(view.inspected), view.model
    tensors = sum(1 for _ in tensors_of(model))
    total = sum(layer.size for layer in layers)
    parts = [
        f"### {_text(title_of(view))}",
        f"{_code(view.name)}<br>{_code(str(view.inspected.root.digest))}",
        _table(*zip(*facts_of(view, layers, tensors), strict=True)),
        _table(
            ("layer", "size", "share", "sha256", "in"),
            *(
                (
                    layer.label or "layer",
                    human_size(layer.size),
                    percent(layer.size, total),
                    layer.digest.short,
                    layer.within,
                )
                for layer in layers[:_MOST_ROWS]
            ),
        ),
        _left_out(len(layers), "layers"),
    ]
    if totals := dtype_totals(model):
        rows = [(name, f"{count:,}", human_size(size)) for name, (count, _, size) in totals.items()]
        parts += [_table(("dtype", "tensors", "size"), *rows[:_MOST_ROWS]), _left_out(len(rows), "dtypes")]
    if (shared := view.shared) is not None:
        own = human_size(shared.total - shared.size)
        parts.append(
            f"**{percent(shared.size, shared.total)}** ({human_size(shared.size)}) shared with {_code(shared.name)};"
            f" {own} only here"
        )
    parts += [f"Scan verdict, claimed: **{verdict.verdict}** {_text(verdict.rules)}" for verdict in view.verdicts[:5]]
    if view.attached:
        claims = [(spoken(c.predicate_type), c.format, c.signer or "not said") for c in view.attached]
        parts += [
            _table(("attached, not verified", "format", "says it is by"), *claims[:_MOST_ROWS]),
            _left_out(len(claims), "claims"),
        ]
    return "\n\n".join(filter(None, parts))


def _table(header: Sequence[str], *rows: Iterable[str]) -> str:
    lines = [header, ["---"] * len(header)]
    text = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([*text, *(f"| {' | '.join(map(_text, row))} |" for row in rows)])


def _left_out(count: int, what: str) -> str:
    return f"and {count - _MOST_ROWS:,} more {what}" if count > _MOST_ROWS else ""


def _text(text: str) -> str:
    """Text that is no markup, neither Markdown nor HTML."""
    return html.escape(_MARKS.sub(r"\\\1", shown(text)), quote=False)


def _code(text: str) -> str:
    """Text in one style throughout; an HTML element, as backquotes could be closed from inside."""
    return f"<code>{_text(text)}</code>"
