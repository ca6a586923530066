"""Vetted functions are harmless with the arguments that programs give them, and with no others."""

from __future__ import annotations

import argparse
import datetime as dt
import decimal
import pathlib
import pickle
import types
from collections import Counter, OrderedDict, defaultdict, deque

import numpy as np
import pytest

from modelcar.scanning.findings import Outcome, outcome_of
from modelcar.scanning.formats.pickles.files import FORMATS
from tests.corpus.formats import pickles as p
from tests.corpus.formats.torch_files import tensor
from tests.support.containers import found_in, rules_in

ORDERED = p.glob("collections", "OrderedDict")
DTYPE = p.glob("numpy", "dtype")


def rules(*parts: bytes) -> set[str]:
    return rules_in(FORMATS, p.stream(4, *parts), name="model.pkl")


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "value",
    [
        OrderedDict(a=1),
        defaultdict(list, {"a": [1]}),
        Counter("aab"),
        deque([1, 2], maxlen=3),
        complex(1, 2),
        range(3),
        slice(1, None),
        object(),
        dt.datetime(2026, 1, 2, 3, tzinfo=dt.UTC),
        dt.timedelta(days=1),
        decimal.Decimal("1.50"),
        pathlib.PurePosixPath("a/b"),
        argparse.Namespace(lr=0.1, layers=[1, 2]),
        types.SimpleNamespace(lr=0.1),
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.ones((2, 3), dtype=">i4")),
        np.array(["abc", "d"]),
        np.array([b"a"]),
        np.array(["2026-01-01"], dtype="M8[D]"),
        np.array([1, "a", None], dtype=object),
        np.float32(1.5),
        np.zeros((0, 3)),
        np.dtype("f4"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_that_programs_write_are_clean(value: object, protocol: int) -> None:
    data = pickle.dumps({"first": value, "again": value}, protocol)
    assert found_in(FORMATS, data, name="model.pkl") == ()


def dtype(code: str, *state: bytes) -> bytes:
    made = p.call(DTYPE, p.text(code), p.FALSE, p.TRUE)
    return made + p.tuple_of(*state) + p.BUILD if state else made


def state_of(size: int = -1, alignment: int = -1, flags: int = 0, names: bytes = p.NONE) -> tuple[bytes, ...]:
    numbers = (p.integer(number) for number in (size, alignment, flags))
    return (p.integer(3), p.text("<"), p.NONE, names, names, *numbers)


def test_the_type_that_the_following_variations_spoil() -> None:
    assert rules(dtype("f4", *state_of())) == set()


@pytest.mark.parametrize(
    "broken",
    [
        dtype("f4", *state_of(size=4000)),
        dtype("f4", *state_of(flags=63)),
        dtype("O8", *state_of(flags=0)),
        dtype("V8", *state_of(8, 1, 0, p.tuple_of(p.text("a")))),
        dtype("S4", *state_of(400, 1)),
        dtype("f4", *state_of()[:7]),
        dtype("f4", *state_of()) + p.tuple_of(*state_of()) + p.BUILD,
        p.call(DTYPE, p.text("f4,O")),
        p.call(DTYPE, p.list_of(p.text("f4"))),
        p.call(DTYPE, p.call(p.glob("a", "b"))),
    ],
)
def test_types_that_lie_about_their_elements(broken: bytes) -> None:
    assert rules(broken)


def array(element_type: bytes, data: bytes, shape: bytes = p.tuple_of(p.integer(1))) -> bytes:
    reconstruct = p.glob("numpy._core.multiarray", "_reconstruct")
    made = p.call(reconstruct, p.glob("numpy", "ndarray"), p.tuple_of(p.integer(0)), p.binary(b"b"))
    return made + p.tuple_of(p.integer(1), shape, element_type, p.FALSE, data) + p.BUILD


def test_the_array_that_the_following_variations_spoil() -> None:
    assert rules(array(dtype("f4", *state_of()), p.binary(bytes(4)))) == set()
    assert rules(array(dtype("O8", *state_of(flags=63)), p.list_of(p.NONE))) == set()


@pytest.mark.parametrize(
    "broken",
    [
        array(dtype("O8", *state_of(flags=63)), p.binary(bytes(8))),
        array(dtype("f4"), p.binary(bytes(4))),
        array(dtype("O8", *state_of(flags=63)), p.list_of(p.NONE), p.tuple_of(p.integer(2))),
        array(dtype("O8", *state_of(flags=63)), p.list_of(p.NONE), p.tuple_of(p.integer(0))),
        array(dtype("f4", *state_of()), p.list_of(p.NONE)),
        array(dtype("f4", *state_of()), p.binary(bytes(4)), p.tuple_of(p.integer(-1))),
        array(p.call(p.glob("a", "b")), p.binary(bytes(4))),
        p.call(
            p.glob("numpy._core.multiarray", "_reconstruct"), p.glob("numpy", "memmap"), p.EMPTY_TUPLE, p.binary(b"b")
        ),
        p.call(p.glob("numpy._core.multiarray", "scalar"), dtype("O8", *state_of(flags=63)), p.binary(bytes(8))),
    ],
)
def test_arrays_that_would_read_bytes_as_pointers_or_are_files(broken: bytes) -> None:
    assert rules(broken)


def test_a_type_that_an_array_uses_cannot_be_changed_afterwards() -> None:
    shared = dtype("S4", *state_of(4, 1)) + p.binput(0)
    late = shared + p.POP + array(p.binget(0), p.binary(bytes(4))) + p.POP
    assert rules(late + p.binget(0)) == set()
    assert rules(late + p.binget(0) + p.tuple_of(*state_of(4000, 1)) + p.BUILD) == {"pickle.unusual-state"}


def test_tensors() -> None:
    assert rules(tensor("0")) == set()


def rebuild(size: bytes, stride: bytes, offset: int = 0, hooks: bytes = p.call(ORDERED)) -> bytes:
    storage = p.tuple_of(p.text("storage"), p.glob("torch", "FloatStorage"), p.text("0"), p.text("cpu"), p.integer(4))
    function = p.glob("torch._utils", "_rebuild_tensor_v2")
    return p.call(function, storage + p.BINPERSID, p.integer(offset), size, stride, p.FALSE, hooks)


@pytest.mark.parametrize(
    "broken",
    [
        rebuild(p.tuple_of(p.integer(5)), p.tuple_of(p.integer(1))),
        rebuild(p.tuple_of(p.integer(2)), p.tuple_of(p.integer(4))),
        rebuild(p.tuple_of(p.integer(4)), p.tuple_of(p.integer(1)), offset=1),
        rebuild(p.tuple_of(p.integer(4)), p.tuple_of(p.integer(-1))),
        rebuild(p.tuple_of(p.integer(4)), p.tuple_of(p.integer(1), p.integer(1))),
        rebuild(p.EMPTY_TUPLE, p.EMPTY_TUPLE, hooks=p.call(ORDERED) + p.integer(1) + DTYPE + p.SETITEM),
        p.call(p.glob("torch._utils", "_rebuild_tensor_v2")),
        p.call(p.glob("torch._utils", "_rebuild_parameter"), p.NONE, p.TRUE, p.call(ORDERED)),
        p.call(p.glob("torch", "FloatStorage"), p.text("file")),
        p.call(p.glob("torch", "Size"), p.call(p.glob("a", "b"))),
        p.call(p.glob("torch.storage", "_load_from_bytes"), p.text("not bytes")),
    ],
)
def test_tensors_that_reach_beyond_their_storage_or_call_something(broken: bytes) -> None:
    assert rules(broken)


@pytest.mark.parametrize(
    "call",
    [
        p.call(p.glob("collections", "defaultdict"), p.glob("torch._utils", "_rebuild_tensor_v2")),
        p.call(p.glob("_codecs", "encode"), p.text("x"), p.text("rot13")),
        p.call(p.glob("_codecs", "encode"), p.text("x")),
        p.call(p.glob("builtins", "bytearray"), p.integer(1 << 30)),
        p.call(p.glob("builtins", "list"), p.call(p.glob("builtins", "range"), *[p.integer(1 << 30)] * 3)),
        p.call(p.glob("copyreg", "_reconstructor"), ORDERED, p.glob("builtins", "object"), p.NONE),
        p.call(p.glob("decimal", "Decimal"), p.text("1E99999999")),
        p.call(p.glob("datetime", "datetime"), p.binary(bytes(10)), p.call(ORDERED)),
        ORDERED + p.EMPTY_TUPLE + p.dictionary({"a": p.NONE}) + p.NEWOBJ_EX,
    ],
)
def test_vetted_functions_called_as_no_program_does(call: bytes) -> None:
    assert rules(call) >= {"pickle.unusual-call"}


@pytest.mark.parametrize(
    "state",
    [
        p.dictionary({"keys": p.NONE}),
        p.dictionary({"__class__": p.NONE}),
        p.tuple_of(p.NONE, p.dictionary({"__class__": ORDERED})),
        p.call(p.glob("builtins", "dict")),
        p.text("x"),
    ],
)
def test_states_that_no_program_writes(state: bytes) -> None:
    assert rules(p.call(ORDERED) + state + p.BUILD) == {"pickle.unusual-state"}


def test_the_metadata_of_a_state_dict_is_a_state_that_programs_write() -> None:
    assert rules(p.call(ORDERED) + p.dictionary({"_metadata": p.call(ORDERED)}) + p.BUILD) == set()


def test_containers_are_filled_as_what_they_are() -> None:
    assert rules(p.call(ORDERED) + p.MARK + p.NONE + p.APPENDS) == {"pickle.unusual-state"}
    assert rules(p.EMPTY_LIST + p.MARK + p.integer(0) + p.NONE + p.SETITEMS) == {"pickle.not-canonical"}
    assert outcome_of(found_in(FORMATS, p.stream(2, p.text("x"), p.NONE, b"a"), name="a.pkl")) is Outcome.UNVERIFIED
