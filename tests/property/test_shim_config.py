"""Whatever stands in a configuration file: settings come of it, or one clear error."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelcar.errors import UsageError
from modelcar.serving.config.reading import load
from modelcar.serving.config.shape import is_settings, settings_of
from modelcar.units import read_bytes, read_rate, read_seconds
from registry_shim.operations.settings import NodeSettings

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)


def documents_of(cls: type, depth: int = 2) -> st.SearchStrategy[Any]:
    """Documents that have the right keys and anything below them."""
    keys = {s.name: s for s in settings_of(cls)}

    def value(name: str) -> st.SearchStrategy[Any]:
        kind = keys[name].kind
        if depth and is_settings(kind):
            return documents_of(kind, depth - 1) | SCALARS
        return SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.text(max_size=5), SCALARS, max_size=2)

    return st.lists(st.sampled_from(sorted(keys)), max_size=4, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: value(name) for name in names})
    )


@given(documents_of(NodeSettings) | st.dictionaries(st.text(max_size=8), SCALARS, max_size=3))
def test_a_document_is_understood_or_refused(document: dict[str, Any]) -> None:
    check(json.dumps(document))


@given(st.text(alphabet="abc:-[]{}&*!|>'\"#%@`,?\n \t~<", max_size=80))
def test_text_is_understood_or_refused(text: str) -> None:
    check(text)


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 50_000, "- " * 100_000, "&a [" + "*a, " * 1000 + "]"])
def test_depth_is_no_way_out(text: str) -> None:
    check(text)


def check(text: str) -> None:
    found: NodeSettings | str
    try:
        found = load(text, NodeSettings, name="node.yaml")
    except UsageError as e:
        found = str(e)
    assert isinstance(found, NodeSettings) or re.search(r"^node\.yaml[^\n]*\Z", found)


@given(st.text(alphabet="0123456789.kKMGTPiBbits/smhd e-+", max_size=14))
def test_amounts_are_read_or_not_never_guessed(text: str) -> None:
    for reader in (read_bytes, read_rate, read_seconds):
        value = reader(text)
        assert value is None or value >= 0


@given(st.integers(0, 1 << 40), st.sampled_from([("KiB", 10), ("MiB", 20), ("GiB", 30)]))
def test_sizes_are_exact(count: int, unit: tuple[str, int]) -> None:
    assert read_bytes(f"{count}{unit[0]}") == count << unit[1]
    assert read_rate(f"{count}{unit[0]}/s") == count << unit[1]
