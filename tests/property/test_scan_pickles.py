"""Pickles: what Python writes is clean, and what Python would import from any stream is never overlooked."""

from __future__ import annotations

import _pickle
import contextlib
import io
import pickle
import struct
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from modelcar.scanning.content import literal
from modelcar.scanning.findings import Outcome, outcome_of
from modelcar.scanning.formats.pickles.files import FORMATS
from modelcar.scanning.formats.pickles.judge import judge
from modelcar.scanning.formats.pickles.probe import is_pickle
from modelcar.scanning.formats.pickles.rules import DANGEROUS
from tests.corpus.formats import pickles as p
from tests.support.containers import found_in
from tests.support.examples import examples

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=20)
    | st.integers(250, 260).map(lambda n: "x" * n)
    | st.integers(250, 70_000).map(lambda n: b"\x01" * n)
    | st.binary(max_size=20).map(bytearray)
)
keys = st.text(max_size=5) | st.integers() | st.binary(max_size=5) | st.tuples(st.integers(), st.text(max_size=3))
values = st.recursive(
    scalars | st.frozensets(keys, max_size=4) | st.sets(keys, max_size=4),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(keys, inner, max_size=5) | st.tuples(inner, inner),
    max_leaves=20,
)

NAMES = [
    ("os", "system"),
    ("builtins", "eval"),
    ("collections", "OrderedDict"),
    ("__builtin__", "set"),
    ("copy_reg", "_reconstructor"),
    ("collections", "abc.sys.modules"),
    ("torch", "Size"),
    ("some", "thing"),
]
name_parts = st.sampled_from([part for pair in NAMES for part in pair])
pairs = st.sampled_from(NAMES)
indices = st.integers(0, 3)
opcodes = st.one_of(
    st.sampled_from(
        [bytes([code]) for code in b"(012\x85\x86\x87t)]}\x8f\x91ldaesu\x90R\x81\x92obQN\x88\x89.\x94\x93\x98"]
    ),
    pairs.map(lambda pair: p.glob(*pair)),
    pairs.map(lambda pair: p.stack_glob(*pair)),
    pairs.map(lambda pair: p.inst(*pair)[1:]),
    st.tuples(st.sampled_from([p.text, p.wide_text, p.line_text]), name_parts).map(lambda it: it[0](it[1])),
    name_parts.map(lambda name: p.chars(name.encode())),
    st.tuples(st.sampled_from([p.binget, p.binput, p.get, p.put, p.long_binget]), indices).map(lambda it: it[0](it[1])),
    st.integers(0, 5).map(p.proto),
    st.integers(0, 60).map(lambda size: b"\x95" + struct.pack("<Q", size)),
    st.integers(-9, 999).map(p.integer),
    st.binary(max_size=3).map(p.binary),
    st.binary(max_size=3).map(p.bytearray8),
    st.sampled_from([b"I3\n", b"I01\n", b"F1.5\n", b"L4L\n", b"S'os'\n", b"Px\n", b"G" + bytes(8), p.ext1(1)]),
)
soups = st.tuples(
    st.sampled_from([b"", p.proto(2), p.proto(4), p.proto(5)]),
    st.lists(opcodes, max_size=14),
    st.sampled_from([b"", b"."]),
).map(lambda it: it[0] + b"".join(it[1]) + it[2])


class Harmless:
    """Stands in for everything that is imported; takes whatever is done to it."""

    def __init__(self, *_: Any) -> None: ...

    def __call__(self, *_: Any) -> Harmless:
        return self

    def __setstate__(self, _: Any) -> None: ...

    def __setitem__(self, _: Any, __: Any) -> None: ...

    def append(self, _: Any) -> None: ...

    def extend(self, _: Any) -> None: ...

    def add(self, _: Any) -> None: ...


def loaded_by(unpickler: Any, data: bytes) -> tuple[list[tuple[str, str]], list[int]]:
    """What Python imports from all streams of `data`, and where those end that it gets through."""
    imported: list[tuple[str, str]] = []

    class Recording(unpickler):  # type: ignore[misc]  # C's unpickler or Python's
        def find_class(self, module: str, name: str) -> Any:
            imported.append((module, name))
            return Harmless

        def persistent_load(self, _: Any) -> Any:
            return Harmless()

    file, ends = io.BytesIO(data), [0]
    with contextlib.suppress(Exception):
        while file.tell() < len(data):
            Recording(file).load()
            ends.append(file.tell())
    return imported, ends


@given(values, st.integers(0, 5))
def test_what_python_writes_is_clean(value: object, protocol: int) -> None:
    data = pickle.dumps(value, protocol)
    assert found_in(FORMATS, data, name="model.pkl") == ()


@given(values, st.integers(0, 5), st.binary(min_size=1, max_size=20))
def test_additions_are_noticed_or_are_pickles_that_python_reads(value: object, protocol: int, more: bytes) -> None:
    data = pickle.dumps(value, protocol) + more
    if found_in(FORMATS, data, name="model.pkl") == ():
        imported, ends = loaded_by(pickle._Unpickler, data)
        assert (imported, ends[-1]) == ([], len(data))


@examples(500)
@given(soups)
def test_python_imports_nothing_that_was_overlooked(data: bytes) -> None:
    imported, ends = loaded_by(pickle._Unpickler, data)
    imported_by_c, ends_by_c = loaded_by(_pickle.Unpickler, data)
    findings = found_in(FORMATS, data, name="model.pkl")
    judged = [judge(*pair, renames=True)[1] for pair in (*imported, *imported_by_c)]
    if DANGEROUS in judged:
        assert outcome_of(findings) is Outcome.MALICIOUS
        assert is_pickle(literal(data))
    if outcome_of(findings) is Outcome.CLEAN:
        assert set(judged) <= {None}
        assert ends == ends_by_c


@examples(300)
@given(st.binary(max_size=300), st.sampled_from(["model.pkl", "README.md"]))
def test_arbitrary_bytes_neither_fail_nor_hang(data: bytes, name: str) -> None:
    assert not any(finding.rule.id == "scan.failed" for finding in found_in(FORMATS, data, name=name))


@examples(200)
@given(values, st.integers(0, 5), st.data())
def test_mutated_pickles_neither_fail_nor_hang(value: object, protocol: int, data: st.DataObject) -> None:
    mutated = bytearray(pickle.dumps(value, protocol))
    edit: Callable[[], int] = lambda: data.draw(st.integers(0, len(mutated) - 1))  # noqa: E731  # one of two
    for _ in range(data.draw(st.integers(1, 3))):
        mutated[edit()] = data.draw(st.integers(0, 255))
    findings = found_in(FORMATS, bytes(mutated), name="model.pkl")
    assert not any(finding.rule.id == "scan.failed" for finding in findings)
    if outcome_of(findings) is Outcome.CLEAN:
        imported, _ = loaded_by(pickle._Unpickler, bytes(mutated))
        assert all(judge(*pair, renames=True)[1] is None for pair in imported)
