"""The page of two models: its numbers, its structure, and that names in it are text."""

from __future__ import annotations

import re

import pytest

from modelcar.cli.pages.difference import difference_page
from modelcar.images.differences import Difference, compare
from tests.unit.cli.pages.images import HOSTILE, Read
from tests.unit.images.sides import A, B, file, side

MOST = 2 << 20  # bytes


def test_its_structure() -> None:
    read = Read(difference_page(compare(side(*A), side(*B)), "ghcr.io/acme/llm:v1", "./tuned/"))
    read.check_policy()
    assert read.headings == [
        "llm:v1",
        "",
        "→",
        "",
        "tuned",
        "Layers",
        "Layers that differ",
        "Files",
        "Files that differ",
        "Tensors",
        "Tensors that differ",
    ]
    assert read.columns == {
        "Layers: how much of them": ["Layers", "Count", "Before", "After"],
        "Layers that differ": ["Holds", "Change", "Before", "After", "sha256"],
        "Files: how much of them": ["Files", "Count", "Before", "After"],
        "Files that differ": ["File", "Change", "Before", "After"],
        "Tensors: how much of them": ["Tensors", "Count", "Before", "After"],
        "Tensors that differ": ["Tensor", "Change", "Before", "After"],
    }
    text = re.sub(r"\s+", " ", read.text)
    assert "605 B to move" in text
    assert "880 B are the same" in text


def test_bars_have_one_scale() -> None:
    page = difference_page(compare(side(*A), side(*B)), "a", "b").decode()
    widths = {name: float(width) for name, width in re.findall(r"\.(p\d+)\{width:([\d.]+)%\}", page)}
    bars = re.findall(r'<div class="bar".*?</div>', page, re.DOTALL)
    parts = [[(tone, widths[place]) for tone, place in re.findall(r'class="(\w+) (p\d+)"', bar)] for bar in bars]
    assert len(parts) == 6
    layers_before, layers_after = parts[0], parts[1]
    assert layers_before[0] == layers_after[0]
    assert layers_before[0][1] == pytest.approx(100 * 880 / 1723, abs=1e-3)
    assert [tone for tone, _ in layers_before] == ["same", "changed", "removed"]
    assert [tone for tone, _ in layers_after] == ["same", "changed", "added"]
    assert sum(width for _, width in layers_before) == pytest.approx(100, abs=1e-2)


def test_one_model_twice() -> None:
    read = Read(difference_page(compare(side(*A), side(*A)), "a", "b"))
    assert "They are the same model." in read.text
    assert not [heading for heading in read.headings if "differ" in heading]


def test_nothing_at_all() -> None:
    Read(difference_page(Difference(files=(), tensors=()), "", "")).check_policy()


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_whatever_is_written_in_an_image_is_text(text: str) -> None:
    found = compare(side(file(text, "1", (text, 8, text))), side(file(text, "22", (text, 16, text))))
    page = difference_page(found, text, text)
    read = Read(page)
    read.check_policy()
    assert read.tags.count("script") == 2
    assert "img" not in read.tags
    assert len(page) < 100_000


def test_a_page_has_its_bounds() -> None:
    noise = "<&\U0001f600" * 60
    many = [file(f"{i}{noise}", "1", *((f"{i}.{j}{noise}", 8, "F32") for j in range(20))) for i in range(1000)]
    found = compare(side(), side(*many))
    page = difference_page(found, noise, noise)
    assert len(page) < MOST
    text = re.sub(r"\s+", " ", Read(page).text)
    assert "850 more, which are left out here" in text
    assert "40 of 20,000" in text
