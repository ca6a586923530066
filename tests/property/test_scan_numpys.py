"""Arrays: what numpy writes is clean; damage and additions are noticed or make no difference to numpy."""

from __future__ import annotations

import ast
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelcar.scanning.formats.numpys.literals import LiteralError, parse_literal
from modelcar.scanning.formats.numpys.scan import FORMATS
from tests.support.containers import rules_in
from tests.support.examples import examples

kinds = st.sampled_from(["?", "i1", "<i8", ">f4", "<f2", "<c16", "<U3", "S4", "V2", "<M8[ms]"])
shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)


def saved(kind: Any, shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(shape, dtype=kind))
    return buffer.getvalue()


@given(kinds | st.lists(kinds, min_size=1, max_size=3).map(lambda k: [(f"f{i}", x) for i, x in enumerate(k)]), shapes)
def test_what_numpy_writes_is_clean(kind: Any, shape: tuple[int, ...]) -> None:
    assert rules_in(FORMATS, saved(kind, shape)) == set()


@given(kinds, shapes, st.binary(min_size=1, max_size=20))
def test_additions_are_noticed(kind: str, shape: tuple[int, ...], more: bytes) -> None:
    assert rules_in(FORMATS, saved(kind, shape) + more)


@pytest.mark.filterwarnings("ignore:Reading `.npy`:UserWarning")  # headers as Python 2 wrote them, which numpy mends
@examples(500)
@example("?", (0,), 62, b"L")
@given(kinds, shapes, st.integers(0, 130), st.binary(min_size=1, max_size=3))
def test_a_damaged_header_that_is_clean_is_one_that_numpy_reads_without_pickles(
    kind: str, shape: tuple[int, ...], at: int, change: bytes
) -> None:
    data = bytearray(saved(kind, shape))
    data[at : at + len(change)] = change
    if bytes(data).startswith(b"\x93NUMPY") and not rules_in(FORMATS, bytes(data)):
        buffer = io.BytesIO(data)
        assert not np.load(buffer, allow_pickle=False).dtype.hasobject
        assert buffer.tell() == len(data)


scalars = st.integers(0, 10**19) | st.booleans() | st.text("abc<>|?4 ", max_size=4)
literals = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text("abc", max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(literals)
def test_literals_are_read_as_python_reads_them(value: Any) -> None:
    assert parse_literal(repr(value)) == value


@examples(2000)
@given(st.text("[](){},: 'a1TrueFals", max_size=30))
def test_no_text_is_read_otherwise_than_by_python(text: str) -> None:
    try:
        value = parse_literal(text)
    except LiteralError:
        return
    assert ast.literal_eval(text.strip()) == value


def test_nesting_is_bounded() -> None:
    with pytest.raises(LiteralError):
        parse_literal("[" * 100_000)
