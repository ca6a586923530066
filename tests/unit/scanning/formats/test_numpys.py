"""Array files: numbers of every kind are clean, Python objects never are, and nothing is evaluated."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

from modelcar.scanning.formats.numpys.scan import FORMATS
from modelcar.scanning.formats.zips.scan import FORMATS as ZIPS
from tests.support.containers import EVIL, PLAIN, found_in, rules_in
from tests.support.zips import Member, make_zip


def saved(*arrays: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    for array in arrays:
        np.save(buffer, array, **options)
    return buffer.getvalue()


def npy(header: str, data: bytes = b"", version: bytes = b"\1\0") -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY" + version + len(text).to_bytes(2 if version == b"\1\0" else 4, "little") + text + data


def rules(data: bytes) -> set[str]:
    return rules_in((*FORMATS, *ZIPS), data, name="file.npy")


KINDS = [
    "?", "i1", "<i2", ">i4", "<i8", "u1", "<u8", "<f2", "<f4", ">f8", "<c8", "<c16", "<U7", "S5", "V3",
    "<M8[ns]", "<M8[25s]", "<m8[D]", "<M8", "g", "G",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 5), (2, 3, 4)])
def test_numbers_texts_and_times_are_clean(kind: str, shape: tuple[int, ...]) -> None:
    assert found_in(FORMATS, saved(np.zeros(shape, dtype=kind))) == ()
    assert found_in(FORMATS, saved(np.asfortranarray(np.zeros(shape, dtype=kind)))) == ()


@pytest.mark.filterwarnings("ignore:Stored array in format 3.0:UserWarning")
@pytest.mark.parametrize(
    "fields",
    [
        [("a", "<f4"), ("b", "u1", (2, 3))],
        [("a", [("b", "<f4"), ("c", "S3")]), ("d", "?")],
        [(("a title", "a"), "<f4")],
        [("ä", "<f4")],
        [("Ω", "<f4")],
    ],
)
def test_structures_of_numbers_are_clean(fields: Any) -> None:
    assert found_in(FORMATS, saved(np.zeros(4, dtype=fields))) == ()
    assert found_in(FORMATS, saved(np.zeros(4, dtype=np.dtype(fields, align=True)))) == ()


def test_arrays_one_after_another_are_clean() -> None:
    assert found_in(FORMATS, saved(np.arange(5), np.eye(2), np.array("text"))) == ()


@pytest.mark.parametrize("version", [b"\1\0", b"\2\0", b"\3\0"])
def test_all_versions(version: bytes) -> None:
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2L,), }   "
    assert found_in(FORMATS, npy(header, bytes(8), version)) == ()


@pytest.mark.parametrize(
    "array",
    [
        np.array([{}], dtype=object),
        np.zeros(2, dtype=[("a", "<f4"), ("b", object)]),
        np.zeros(2, dtype=[("a", [("b", object, (2,))])]),
    ],
)
def test_objects_are_never_clean(array: Any) -> None:
    assert "numpy.object-array" in rules(saved(array))


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'more': 1}",
        "{'descr': '<f4', 'fortran_order': False}",
        "{'descr': '<f4', 'descr': '|O', 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': 1, 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2.0,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (True,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': [2]}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} + x",
        "{'descr': 'O,f4', 'fortran_order': False, 'shape': (2,)}",
        "{'descr': 'object', 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '<f3', 'fortran_order': False, 'shape': (2,)}",
        "{'descr': [('a',)], 'fortran_order': False, 'shape': (2,)}",
        "{'descr': ['<f4'], 'fortran_order': False, 'shape': (2,)}",
        "{'descr': {'a': '<f4'}, 'fortran_order': False, 'shape': (2,)}",
        "{'descr': __import__('os'), 'fortran_order': False, 'shape': (2,)}",
        "{'descr': " + "(" * 40 + "'<f4'" + ")" * 40 + ", 'fortran_order': False, 'shape': (2,)}",
        "{'descr': " + "[('a', " * 40 + "'<f4'" + ")]" * 40 + ", 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1," * 65 + ")}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': 2}",
        "{'descr' '<f4'}",
        "{'descr': '\\x3cf4', 'fortran_order': False, 'shape': (2,)}",
        "",
    ],
)
def test_headers_that_numpy_does_not_write_are_refused_and_what_follows_is_looked_at(header: str) -> None:
    assert rules(npy(header, EVIL)) == {"file.malformed", "evil"}


def test_sizes_have_to_be_exact() -> None:
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }"
    assert rules(npy(header, bytes(7))) == {"file.malformed"}
    assert rules(npy(header, bytes(9))) == {"file.unaccounted-bytes"}
    huge = "{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999999999, 99999999999999999999), }"
    assert rules(npy(huge, bytes(8))) == {"file.malformed"}


@pytest.mark.parametrize("data", [b"\x93NUMPY", b"\x93NUMPY\4\0", b"\x93NUMPY\1\1\0\0", b"\x93NUMPY\2\0\xff\xff\xff\1"])
def test_beginnings_without_an_array(data: bytes) -> None:
    assert rules(data) == {"file.malformed"}


def test_collections_of_arrays_are_clean() -> None:
    for save in (np.savez, np.savez_compressed):
        buffer = io.BytesIO()
        save(buffer, np.arange(3), weights=np.eye(30), name=np.array("x"))
        assert rules(buffer.getvalue()) == set()


def test_a_collection_holds_nothing_but_arrays() -> None:
    array = Member(name=b"a.npy", data=saved(np.arange(3)))
    stranger = make_zip([array, Member(name=b"note", data=PLAIN)])
    assert rules_in((*FORMATS, *ZIPS), stranger, name="model.npz") == {"numpy.not-an-array"}
    assert rules_in((*FORMATS, *ZIPS), stranger, name="model.zip") == set()
    disguised = make_zip([array, Member(name=b"b.npy", data=EVIL)])
    assert rules(disguised) == {"numpy.not-an-array", "evil"}
