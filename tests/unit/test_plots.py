"""The pictures of docs/explanation/performance.md show what docs/explanation/benchmarks.md says."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.bench.plots import FOLDER, PAGE, PLOTS, Plot, bars, main, tables

SVG = "{http://www.w3.org/2000/svg}"
TABLES = tables(PAGE.read_text())
EXPLAINED = Path(__file__).parents[2] / "docs" / "explanation" / "performance.md"


def test_pictures_are_those_of_the_page() -> None:
    assert main(["--check"]) == 0


@pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: plot.file)
def test_bars_are_as_long_as_the_table_says(plot: Plot) -> None:
    picture = ET.fromstring((FOLDER / plot.file).read_text())  # noqa: S314  # our own
    lengths = [float(bar.attrib["width"]) for bar in picture.iter(f"{SVG}rect") if bar.get("class") != "paper"]
    values = [float(TABLES[plot.section][row][plot.column].replace(",", "")) for row in plot.rows]
    for length, value in zip(lengths, values, strict=True):
        assert length == pytest.approx(max(value / max(values) * max(lengths), 2), abs=0.1)
    said = [text.text for text in picture.iter(f"{SVG}text")]
    assert all(f"{value:g} {plot.unit}" in said for value in values)


def test_every_picture_is_shown() -> None:
    assert set(re.findall(r"plot-[a-z-]+\.svg", EXPLAINED.read_text())) == {plot.file for plot in PLOTS}


def test_a_row_that_is_gone_is_no_picture() -> None:
    with pytest.raises(KeyError):
        bars(PLOTS[0], {PLOTS[0].section: {}})


def test_tables_of_targets_are_none() -> None:
    page = (
        "### A\n\n|  | x |\n| --- | --: |\n| one | 1,000 |\n\n## B\n\n| figure | target |\n| --- | --: |\n| a | 2 |\n"
    )
    assert tables(page) == {"A": {"one": {"": "one", "x": "1,000"}}}
