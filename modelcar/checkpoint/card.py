"""The model card: YAML front matter between two `---` lines, then Markdown.

Only known top-level keys are cut out and parsed, so that the evaluation results that many cards carry cost nothing,
and every scalar stays text (`no` is a language, not a falsehood). Anchors, tags and merges are never expanded.
A broken card does not make a model unusable: it is reported in `Card.problem` and otherwise ignored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MAX_CARD", "Card", "parse_card"]

MAX_CARD = 8 * 2**20  # bytes
_MAX_BLOCK = 64 * 2**10  # characters of one front matter key with its value
_MAX_VALUES = 100
_WANTED = frozenset(
    {
        "base_model", "datasets", "language", "library_name", "license", "license_link", "license_name", "model_name",
        "pipeline_tag", "tags",
    }
)  # fmt: skip
_KEY = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*)[ \t]*:")
_MAX_DESCRIPTION = 300
_PLACEHOLDER_TITLES = ("model card", "model id", "readme")


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What a model card says; `front` has one text or a tuple of texts a key."""

    front: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    title: str | None = None
    description: str | None = None
    problem: str | None = None

    def text(self, key: str) -> str | None:
        value = self.front.get(key)
        return value if isinstance(value, str) else None

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.front.get(key, ())
        return (value,) if isinstance(value, str) else value


def parse_card(text: str) -> Card:
    """The card that `text` is. Never fails: see `Card.problem`."""
    lines = text.removeprefix("\ufeff").splitlines()
    front, body, problem = _split(lines)
    values: dict[str, str | tuple[str, ...]] = {}
    for key, block in _blocks(front).items():
        try:
            value = _parse_block(block)
        except ValueError:
            problem = f"its front matter key '{key}' is not readable"
        else:
            values |= {key: value} if value else {}
    title, description = _title_and_description(body)
    return Card(front=values, title=title, description=description, problem=problem)


def _split(lines: list[str]) -> tuple[list[str], list[str], str | None]:
    """Front matter, body, and what is wrong with the division."""
    if not lines or lines[0].rstrip() != "---":
        return [], lines, None
    for number, line in enumerate(lines[1:], start=1):
        if line.rstrip() == "---":
            return lines[1:number], lines[number + 1 :], None
    return [], lines[1:], "its front matter does not end"


def _blocks(front: list[str]) -> dict[str, str]:
    """Wanted top-level keys, each with its lines."""
    blocks: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in front:
        match = _KEY.match(line)
        if match is not None:
            current = blocks.setdefault(match[1], []) if match[1] in _WANTED else None
        if current is not None:
            current.append(line)
    return {key: "\n".join(lines) for key, lines in blocks.items()}


def _parse_block(block: str) -> str | tuple[str, ...] | None:
    """The value of one `key: value` in YAML: a text, or a list of texts."""
    import yaml

    if len(block) > _MAX_BLOCK:
        raise ValueError(block[:20])
    try:
        loaded: Any = yaml.load(block, Loader=yaml.BaseLoader)  # noqa: S506  # builds nothing but texts, lists and mappings
    except (yaml.YAMLError, RecursionError) as e:
        raise ValueError(block[:20]) from e
    value = next(iter(loaded.values())) if isinstance(loaded, dict) and len(loaded) == 1 else None
    if isinstance(value, str):
        return _one_line(value)
    if isinstance(value, list):
        return tuple(_one_line(v) for v in value[:_MAX_VALUES] if isinstance(v, str) and v.strip())
    return None


def _title_and_description(body: list[str]) -> tuple[str | None, str | None]:
    """The first heading that is no placeholder, and the first paragraph of prose."""
    title: str | None = None
    paragraph: list[str] = []
    fenced = False
    for line in body[:400]:
        stripped = line.strip()
        if stripped.startswith(("```", "~~~")):
            fenced = not fenced
        heading = re.fullmatch(r"#{1,2}[ \t]+(.+?)[ \t#]*", stripped)
        if heading and not fenced and title is None:
            plain = _plain(heading[1])
            title = plain if plain and not plain.lower().startswith(_PLACEHOLDER_TITLES) else None
        if not fenced and _is_prose(stripped) and not _is_prose_of_nothing(stripped):
            paragraph.append(stripped)
        elif paragraph:
            break
    return title, _shortened(_plain(" ".join(paragraph))) or None


def _is_prose(line: str) -> bool:
    return bool(line) and not line.startswith(
        ("#", "<", "!", "[!", "|", ">", "```", "~~~", "---", "===", "- ", "* ", "{")
    )


def _is_prose_of_nothing(line: str) -> bool:
    """Whether only links and pictures are on the line."""
    return not _plain(re.sub(r"!?\[[^\]]*\]\([^)]*\)", "", line)).strip("|·•-, ")


def _plain(text: str) -> str:
    """Markdown without pictures, links, HTML and emphasis."""
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"<[^>]*>", "", text)
    text = re.sub(r"(\*\*|__|`|(?<!\w)[*_]|[*_](?!\w))", "", text)
    return _one_line(text)


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _shortened(text: str) -> str:
    if len(text) <= _MAX_DESCRIPTION:
        return text
    return text[: _MAX_DESCRIPTION - 1].rpartition(" ")[0].rstrip(" ,;:") + "…"
