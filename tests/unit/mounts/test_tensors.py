"""How much of what is wanted is here, against plain sets of bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from modelcar.checkpoint.formats.header import Tensor
from modelcar.layers.index import IndexedFile
from modelcar.mounts.tensors import present_of, tensors_of

SPANS = st.lists(st.integers(0, 80), unique=True, max_size=16).map(
    lambda cuts: [(a, b) for a, b in zip(sorted(cuts)[::2], sorted(cuts)[1::2], strict=False)]
)


def members(spans: list[tuple[int, int]]) -> set[int]:
    return {n for start, stop in spans for n in range(start, stop)}


@given(SPANS, SPANS)
def test_bytes_that_are_here_are_counted(here: list[tuple[int, int]], wanted: list[tuple[int, int]]) -> None:
    assert present_of(here, wanted) == len(members(here) & members(wanted))


@given(SPANS, st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=5))
def test_a_tensor_is_here_with_its_last_byte(here: list[tuple[int, int]], places: list[tuple[int, int]]) -> None:
    tensors = tuple(
        Tensor(name=str(n), dtype="U8", shape=(size,), offset=offset, size=size)
        for n, (offset, size) in enumerate(places)
    )
    file = IndexedFile(path="f", offset=0, size=80, role="weights", tensors=tensors)
    found = tensors_of([file], {"f": here})
    assert [t.is_here for t in found] == [members([(o, o + s)]) <= members(here) for o, s in places]
