"""joblib and NumPy: pickles among arrays, and headers that lie."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from typing import Final

from tests.corpus.formats.compressed import zstd
from tests.corpus.formats.numpy_files import npy, npy_header, npy_objects, npz
from tests.corpus.formats.pickles import (
    BUILD,
    EMPTY_TUPLE,
    FALSE,
    NEWOBJ,
    NONE,
    TRUE,
    binary,
    call,
    dictionary,
    frame,
    glob,
    integer,
    list_of,
    proto,
    stream,
    text,
    tuple_of,
)
from tests.corpus.formats.zips import DEFLATED, Member, zip_of
from tests.corpus.malicious.common import ATTACK, one_file
from tests.corpus.specimen import MALICIOUS, NEVER_CLEAN, Specimen, Verdict

PICKLE: Final = stream(4, ATTACK)
COMPRESSED: Final[dict[str, Callable[[bytes], bytes]]] = {
    "zlib": zlib.compress,
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE),
}


def specimens() -> list[Specimen]:
    return [*_joblib(), *_objects(), *_headers()]


def _joblib() -> list[Specimen]:
    def joblib(name: str, description: str, content: bytes) -> Specimen:
        return one_file(f"joblib-{name}", "joblib", "joblib", description, "model.joblib", content, loader="joblib")

    inside = _wrapped(_dtype("f8"), FALSE, bytes(16))
    objects = _wrapped(_dtype("O8"), FALSE, PICKLE)
    return [
        joblib("plain", "A bare pickle, which joblib loads", PICKLE),
        *(joblib(name, f"The same, compressed by {name}", pack(PICKLE)) for name, pack in COMPRESSED.items()),
        one_file(
            "joblib-zstd",
            "joblib",
            "joblib",
            "The same in a zstd frame, as a plug-in of joblib makes",
            "model.joblib",
            zstd(PICKLE),
            expected=NEVER_CLEAN,
        ),
        joblib("objects", "An array of objects: a second pickle right in the first", proto(4) + objects + b"."),
        joblib(
            "after-array",
            "The attack behind the raw numbers of an array, where no opcode walk gets without knowing their length",
            proto(4) + inside + b"0" + ATTACK + b".",
        ),
        joblib(
            "array-like-opcodes",
            "An array whose raw numbers read like the end of the pickle; the attack comes behind",
            proto(4) + _wrapped(_dtype("f8"), FALSE, b".".ljust(16, b".")) + b"0" + ATTACK + b".",
        ),
    ]


def _dtype(kind: str) -> bytes:
    made = call(glob("numpy", "dtype"), text(kind), FALSE, TRUE)
    order, flags = (text("|"), integer(63)) if kind.startswith("O") else (text("<"), integer(0))
    unset = integer(-1)
    return made + tuple_of(integer(3), order, NONE, NONE, NONE, unset, unset, flags) + BUILD


def _wrapped(dtype: bytes, mapped: bytes, data: bytes) -> bytes:
    """joblib's stand-in for an array of two, and the array's data, which joblib reads in the middle of the stream."""
    count = integer(1) if data is PICKLE else integer(2)
    state = dictionary(
        {
            "subclass": glob("numpy", "ndarray"),
            "shape": tuple_of(count),
            "order": text("C"),
            "dtype": dtype,
            "allow_mmap": mapped,
        }
    )
    return glob("joblib.numpy_pickle", "NumpyArrayWrapper") + EMPTY_TUPLE + NEWOBJ + state + BUILD + data


def _numpy(
    name: str,
    reference: str,
    description: str,
    path: str,
    content: bytes,
    *,
    expected: frozenset[Verdict] = MALICIOUS,
    loader: str | None = "numpy",
) -> Specimen:
    return one_file(name, "numpy", reference, description, path, content, expected=expected, loader=loader)


def _objects() -> list[Specimen]:
    objects, numbers = npy_objects(PICKLE), npy("<f4", (4,), bytes(16))
    rebuilt = call(
        glob("numpy._core.multiarray", "_reconstruct"), glob("numpy", "ndarray"), tuple_of(integer(0)), binary(b"b")
    )
    state = tuple_of(integer(1), tuple_of(integer(1)), _dtype("O8"), FALSE, list_of(ATTACK))
    return [
        _numpy("npy-objects", "object array", "An array of objects, which is a pickle", "mean.npy", objects),
        _numpy(
            "npy-structured-objects",
            "object array",
            "One field of a structured array holds objects",
            "mean.npy",
            _structured(),
        ),
        _numpy(
            "npy-objects-framed",
            "object array",
            "The same in a frame of protocol 4",
            "mean.npy",
            npy_objects(proto(4) + frame(ATTACK + b".")),
        ),
        _numpy(
            "npz-objects",
            "object array",
            "The second array of an .npz",
            "stats.npz",
            npz({"mean": numbers, "std": objects}),
        ),
        _numpy(
            "npz-objects-deflated",
            "object array",
            "The same, compressed",
            "stats.npz",
            npz({"mean": numbers, "std": objects}, method=DEFLATED),
        ),
        _numpy(
            "npz-bare-pickle",
            "extension",
            "A pickle in an .npz under no name of an array: numpy's loader of old unpickles what is no array",
            "stats.npz",
            zip_of(Member(name="mean.npy", data=numbers), Member(name="std", data=PICKLE)),
            loader="zip-member:std",
        ),
        _numpy("npy-is-pickle", "extension", "numpy.load takes a bare pickle too", "mean.npy", PICKLE),
        _numpy(
            "pickle-of-object-array",
            "object array",
            "A pickled array of objects; the attack is one of them",
            "mean.pkl",
            stream(4, rebuilt, state, BUILD),
            loader="pickle",
        ),
    ]


def _structured() -> bytes:
    header = "{'descr': [('weights', '<f4'), ('extra', '|O')], 'fortran_order': False, 'shape': (1,), }"
    return npy_header(header.encode()) + PICKLE


def _headers() -> list[Specimen]:
    """Headers are Python literals, read by a parser of Python: they must be read by one that is not."""
    whole = b"{'descr': '<f4', 'fortran_order': False, 'shape': (%s,), }"
    odd = {
        "npy-shape-too-large": ("lying header", "More numbers than the file has", npy("<f4", (1 << 40,), bytes(16))),
        "npy-shape-overflow": (
            "lying header",
            "A shape whose product overflows 64 bits",
            npy("<f4", (1 << 33, 1 << 33), bytes(16)),
        ),
        "npy-trailing": ("trailing bytes", "A pickle behind the numbers", npy("<f4", (4,), bytes(16)) + PICKLE),
        "npy-header-expression": ("lying header", "An expression for a shape", npy_header(whole % b"2*2") + bytes(16)),
        "npy-header-deep": (
            "lying header",
            "Nested too deep for a parser",
            npy_header(whole % (b"(" * 5000 + b")" * 5000)) + bytes(16),
        ),
        "npy-header-length": ("lying header", "A header longer than the file", b"\x93NUMPY\x02\x00\xff\xff\xff\x7f{}"),
        "npy-version-9": ("lying header", "A version that does not exist", npy("<f4", (4,), bytes(16), version=9)),
    }
    return [
        _numpy(name, reference, description, "mean.npy", content, expected=NEVER_CLEAN, loader=None)
        for name, (reference, description, content) in odd.items()
    ]
