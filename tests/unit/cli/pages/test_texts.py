"""Other people's text, bounded and visible."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelcar.cli.output import percent
from modelcar.cli.pages.texts import json_text, shown


@given(st.text(), st.integers(4, 50))
def test_what_is_shown_is_short_and_visible(text: str, longest: int) -> None:
    found = shown(text, longest)
    assert len(found) <= longest
    assert found.isprintable()
    if text.isprintable() and len(text) <= longest:
        assert found == text


def test_the_ends_of_a_long_name_stay() -> None:
    assert shown("model.layers.0.mlp.up_proj.weight", 20) == "model.layers.…weight"


def test_what_turns_a_line_around_is_spelt_out() -> None:
    assert shown("\u202egnp.exe") == "\\u202egnp.exe"


@given(
    st.recursive(
        st.text() | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_data_is_json_without_markup(value: object) -> None:
    text = json_text(value)
    assert json.loads(text) == value
    assert text.isascii()
    assert not set("<>&") & set(text)


@pytest.mark.parametrize(
    ("part", "whole", "said"),
    [
        (0, 0, "0 %"),
        (0, 5, "0.0 %"),
        (5, 5, "100 %"),
        (1, 3, "33.3 %"),
        (1, 10**6, "< 0.1 %"),
        (99_999, 10**5, "99.9 %"),
    ],
)
def test_shares(part: int, whole: int, said: str) -> None:
    assert percent(part, whole) == said
