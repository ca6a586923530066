"""However JSON falls into windows: what is skipped ends where it ends, and what is taken is right."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelcar.errors import InvalidDocument
from modelcar.layers import jsonpull
from modelcar.layers.jsonpull import JsonPull

texts = st.text(st.characters(exclude_categories=["Cs"]))
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 70), 1 << 70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=30)
windows = st.integers(1, 40)
styles = st.sampled_from([{}, {"indent": 1}, {"ensure_ascii": False}, {"separators": (",", ":")}])


def pulled(raw: bytes) -> JsonPull:
    return JsonPull(lambda offset, size: raw[offset : offset + size], 0, len(raw), what="it", most=1000)


def walked(pull: JsonPull, like: Any) -> Any:
    """Take everything, as a reader does who knows what comes."""
    if isinstance(like, dict):
        return {name: walked(pull, like[name]) for name in pull.members()}
    if isinstance(like, list):
        return [walked(pull, like[number]) for number, _ in enumerate(pull.elements())]
    return pull.scalar()


@given(values, windows, styles)
def test_what_is_skipped_and_what_is_taken(value: Any, window: int, style: dict[str, Any]) -> None:
    raw = json.dumps(value, **style).encode()
    with patch.object(jsonpull, "_WINDOW", window):
        pull = pulled(raw)
        pull.skip()
        pull.end()
        pull = pulled(raw)
        assert walked(pull, value) == value
        pull.end()
        pull = pulled(json.dumps({"wanted": 1, "value": value}, **style).encode())
        assert pull.record(frozenset({"wanted"})) == {"wanted": 1}
        pull.end()


@given(st.lists(values, min_size=1) | st.dictionaries(texts, values, min_size=1), windows, st.data())
def test_what_is_cut_short_has_no_end(value: Any, window: int, data: st.DataObject) -> None:
    raw = json.dumps(value).encode()
    cut = raw[: data.draw(st.integers(0, len(raw) - 1))]
    with patch.object(jsonpull, "_WINDOW", window), pytest.raises(InvalidDocument):
        pulled(cut).skip()
