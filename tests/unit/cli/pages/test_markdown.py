"""A summary for CI: the facts, and no markup but its own."""

from __future__ import annotations

import re

import pytest

from modelcar.cli.pages.markdown import image_markdown
from tests.unit.cli.pages.images import HOSTILE
from tests.unit.cli.pages.views import hostile_view, model_view

MARKUP = ("<script", "<img", "![", "](", "http://", "www.", "@everyone", "`")


def test_all_of_it() -> None:
    assert image_markdown(model_view()).split("\n\n") == [
        "### Tiny",
        f"<code>ghcr.io/acme/llm:v1</code><br><code>{model_view().inspected.root.digest}</code>",
        (
            "| Size | Parameters | Tensors | Layers | Licence |\n| --- | --- | --- | --- | --- |\n"
            "| 10.0 MB | 22.7M | 3 | 4 | Apache-2.0 |"
        ),
        (
            "| layer | size | share | sha256 | in |\n| --- | --- | --- | --- | --- |\n"
            "| weights: a.safetensors | 6.0 MB | 60.0 % | 7692c3ad3540 | all |\n"
            "| weights: b.safetensors | 3.0 MB | 30.0 % | 3fc4ccfe7458 | all |\n"
            "| files | 900 kB | 9.0 % | 81db8ebbbbc6 | all |\n"
            "| holder | 100 kB | 1.0 % | 6e45386daeb0 | all |"
        ),
        "| dtype | tensors | size |\n| --- | --- | --- |\n| F32 | 2 | 8.0 kB |\n| BF16 | 1 | 800 B |",
        "**60.0 %** (6.0 MB) shared with <code>ghcr.io/acme/llm:v0</code>; 4.0 MB only here",
        "Scan verdict, claimed: **clean** modelcar 1",
        (
            "| attached, not verified | format | says it is by |\n| --- | --- | --- |\n"
            "| signature | bundle | key sha256:ab |"
        ),
    ]


@pytest.mark.parametrize(
    "text",
    [*HOSTILE, "![x](http://evil)", "[a](b) @everyone #1 `x` | evil | **b**", "www.evil.example\n\n# x"],
    ids=range(len(HOSTILE) + 3),
)
def test_whatever_is_written_in_an_image_is_text(text: str) -> None:
    found = image_markdown(hostile_view(text))
    assert len(found) < 20_000
    bare = re.sub(r"\\.", "", found)  # what a backslash stands before is no markup
    assert not [mark for mark in MARKUP if mark in bare]
    tables = [block.split("\n") for block in bare.split("\n\n") if block.startswith("|")]
    assert len(tables) == 4
    for table in tables:
        assert {row.count("|") for row in table} == {table[0].count("|")}
    assert set(re.findall(r"</?(\w+)", bare)) == {"code", "br"}
