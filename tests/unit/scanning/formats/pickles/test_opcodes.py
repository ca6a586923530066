"""Every trick by which an import, a call or a change can be hidden from who only skims the opcodes."""

from __future__ import annotations

import _pickle
import contextlib
import io
import os
import pickle
import struct
import sys
from typing import Any

import pytest

from modelcar.scanning.findings import Outcome, outcome_of
from modelcar.scanning.formats.pickles.files import FORMATS
from tests.corpus.formats import pickles as p
from tests.support.containers import found_in, rules_in

ATTACK = "pickle.dangerous-global"
RUN = p.call(p.glob("os", "system"), p.text("true"))


def verdict(data: bytes) -> Outcome:
    return outcome_of(found_in(FORMATS, data, name="model.pkl"))


def rules(data: bytes) -> set[str]:
    return rules_in(FORMATS, data, name="model.pkl")


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("true",)


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol(protocol: int) -> None:
    assert rules(pickle.dumps(Payload(), protocol)) == {ATTACK}


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_are_clean_in_every_protocol(protocol: int) -> None:
    values = [None, True, 1, -(2**40), 10**30, 1.5, "x" * 5000, b"\x80" * 5000, bytearray(b"abc"), (1, (2,)), {3}]
    assert verdict(pickle.dumps({"a": values, 1: frozenset({"b"})}, protocol)) is Outcome.CLEAN


@pytest.mark.parametrize(
    "import_it",
    [
        p.glob("os", "system"),
        p.stack_glob("os", "system"),
        p.text("system") + p.MEMOIZE + p.POP + p.text("os") + p.binget(0) + p.STACK_GLOBAL,
        p.text("os") + p.binput(9) + p.POP + p.binget(9) + p.text("system") + p.STACK_GLOBAL,
        p.text("os") + p.put(300) + p.long_binput(7) + p.POP + p.get(300) + p.text("system") + p.STACK_GLOBAL,
        p.wide_text("os") + p.line_text("system") + p.STACK_GLOBAL,
        p.chars(b"os") + b"S'\\x73ystem'\n" + p.STACK_GLOBAL,
        p.text("os") + p.MARK + p.text("x") + p.POP_MARK + p.text("system") + p.STACK_GLOBAL,
        p.text("os") + p.MARK + p.POP + p.text("system") + p.STACK_GLOBAL,
        p.text("os") + p.text("collections") + p.POP + p.text("system") + p.STACK_GLOBAL,
        b"V\\u006fs\n" + p.text("system") + p.STACK_GLOBAL,
        b"\x8d" + struct.pack("<Q", 2) + b"os" + b"T" + struct.pack("<i", 6) + b"system" + p.STACK_GLOBAL,
        p.text("os") + p.wide_text("path." + "os.path." * 60 + "os.system") + p.STACK_GLOBAL,
    ],
)
def test_names_by_every_way_to_the_stack(import_it: bytes) -> None:
    assert ATTACK in rules(p.stream(4, import_it))


def test_a_name_in_the_memo_may_be_changed_before_it_is_used() -> None:
    change = p.text("collections") + p.binput(0) + p.POP + p.text("os") + p.binput(0) + p.POP
    assert ATTACK in rules(p.stream(4, change, p.binget(0), p.text("system"), p.STACK_GLOBAL))


def test_memoize_counts_what_is_there_and_not_how_often_it_was_said() -> None:
    tricky = p.text("a") + p.binput(1) + p.POP + p.text("os") + p.MEMOIZE + p.POP + p.binget(1)
    assert ATTACK in rules(p.stream(4, tricky, p.text("system"), p.STACK_GLOBAL))


@pytest.mark.parametrize(
    "name",
    [
        p.call(p.glob("_codecs", "encode"), p.text("os"), p.text("latin1")),
        p.text("x") + p.BINPERSID,
        p.ext1(1),
    ],
)
def test_a_name_that_is_computed_is_an_attack(name: bytes) -> None:
    assert "pickle.hidden-global" in rules(p.stream(4, name, p.text("system"), p.STACK_GLOBAL))


@pytest.mark.parametrize("name", [p.integer(1), p.NONE, p.tuple_of(p.text("os")), p.binary(b"os"), p.EMPTY_LIST])
def test_a_name_that_is_no_text_is_nothing_that_an_unpickler_takes(name: bytes) -> None:
    assert rules(p.stream(4, name, p.text("system"), p.STACK_GLOBAL)) == {"file.malformed"}


@pytest.mark.parametrize(
    "call",
    [
        p.inst("os", "system", p.text("true")),
        p.MARK + p.glob("os", "system") + p.text("true") + p.OBJ,
        p.glob("os", "system") + p.EMPTY_TUPLE + p.NEWOBJ,
        p.glob("os", "system") + p.EMPTY_TUPLE + p.EMPTY_DICT + p.NEWOBJ_EX,
        RUN,
        RUN + p.POP + p.NONE,
        p.EMPTY_DICT + RUN + p.NONE + p.SETITEM,
    ],
)
def test_every_kind_of_call(call: bytes) -> None:
    assert ATTACK in rules(p.stream(4, call))


def test_a_name_alone_is_enough() -> None:
    assert rules(p.stream(2, p.glob("os", "system"))) == {ATTACK}


def test_inst_imports_even_where_its_mark_is_missing() -> None:
    assert rules(b"ios\nsystem\n.") == {ATTACK, "file.malformed"}


@pytest.mark.parametrize("broken", [b"", b"\xff", b"\x00", b"R" * 9, b"X\xff\xff\xff\x7f", b"I"])
def test_what_breaks_after_the_payload_has_run_is_reported_first(broken: bytes) -> None:
    assert ATTACK in rules(p.proto(2) + RUN + broken)


@pytest.mark.parametrize(
    "change",
    [
        p.EMPTY_DICT + p.BUILD,
        p.MARK + p.text("a") + p.NONE + p.SETITEMS,
        p.text("a") + p.NONE + p.SETITEM,
        p.MARK + p.NONE + p.APPENDS,
        p.NONE + b"a",
        p.MARK + p.NONE + b"\x90",
    ],
)
@pytest.mark.parametrize("target", [("collections", "OrderedDict"), ("torch._utils", "_rebuild_tensor_v2")])
def test_changing_what_was_imported_is_an_attack(target: tuple[str, str], change: bytes) -> None:
    assert rules(p.stream(2, p.glob(*target), change)) == {"pickle.patches-global"}


@pytest.mark.parametrize("code", [p.ext1(1), p.ext2(300), p.ext4(70000)])
def test_the_extension_registry(code: bytes) -> None:
    assert rules(p.stream(2, code)) == {"pickle.extension-registry"}


@pytest.mark.parametrize("opcode", [b"\x97", p.binary(b"x") + b"\x98"])
def test_buffers_from_elsewhere(opcode: bytes) -> None:
    assert rules(p.stream(5, opcode)) == {"pickle.out-of-band"}


@pytest.mark.parametrize("key", [p.persid("7"), p.text("7") + p.BINPERSID])
def test_objects_from_elsewhere(key: bytes) -> None:
    assert rules(p.stream(2, key)) == {"pickle.persistent-id"}


def test_calling_what_another_call_returned() -> None:
    assert rules(p.stream(2, p.call(p.call(p.glob("a", "b"))))) == {"pickle.unknown-global", "pickle.indirect-call"}


@pytest.mark.parametrize(
    ("attribute", "rule"),
    [
        (p.text("__globals__"), "pickle.reaches-through"),
        (p.text("system"), "pickle.reaches-through"),
        (p.call(p.glob("a", "b")), "pickle.reaches-through"),
        (p.text("HUB_MODE"), "pickle.unknown-global"),
    ],
)
def test_getattr_is_judged_by_what_it_looks_up(attribute: bytes, rule: str) -> None:
    looked_up = p.call(p.glob("builtins", "getattr"), p.glob("some.library", "Class"), attribute)
    found = rules(p.stream(4, looked_up))
    assert rule in found
    assert (outcome_of(found_in(FORMATS, p.stream(4, looked_up))) is Outcome.MALICIOUS) == (
        rule != "pickle.unknown-global"
    )


@pytest.mark.parametrize(
    "crafted",
    [
        p.proto(2) + p.proto(4) + b"N.",
        p.proto(4) + b"N0N" + p.proto(2) + b".",
        p.proto(2) + b"NN.",
        p.proto(2) + b"N2\x86.",
        p.proto(2) + b"I0x10\n.",
        p.proto(2) + b"I010\n.",
        p.proto(2) + b"I1_0\n.",
        p.proto(2) + b"Np 0\n.",
        p.proto(2) + b"Np0\ng 0\n.",
        p.proto(2) + b"F1_0.0\n.",
        p.proto(2) + b"Nq\x00N\x86q\x00.",
        p.proto(2) + b"T\x05\x00\x00\x80" + bytes(10),
        p.proto(2) + p.glob("collections", "OrderedDict") + p.list_of() + p.REDUCE + p.STOP,
    ],
)
def test_what_unpicklers_read_differently_is_never_clean(crafted: bytes) -> None:
    assert verdict(crafted) is Outcome.UNVERIFIED


@pytest.mark.parametrize(
    "framed",
    [
        p.frame(b"N.", 3),
        p.frame(p.frame(b"N.") + b"N"),
        p.frame(p.text("abcdef") + b".", 4),
        p.frame(b"N.N."),
    ],
)
def test_frames_that_do_not_hold_what_they_say(framed: bytes) -> None:
    assert verdict(p.proto(4) + framed) is not Outcome.CLEAN


@pytest.mark.parametrize(
    "data",
    [
        p.frame(b"cxx", 3) + b"os\nsystem\n.",
        p.frame(b"cos\nxx", 6) + b"system\n.",
        p.frame(b"\x8c\x05ab", 4) + b"cdeNNcos\nsystem\n.",
        p.frame(b"X\x05\x00\x00\x00ab", 7) + b"cdeNNcos\nsystem\n.",
        p.frame(b"J\x01", 2) + b"NNNNcos\nsystem\n.",
        p.frame(b"N" + b"\x95\x0c" + bytes(7) + b"K", 11) + b"cos\nsystem\n.",
        p.frame(b"cxx", 3) + b"collections\nOrderedDict\n" + p.frame(b"cyy", 3) + b"os\nsystem\n.",
    ],
)
def test_what_is_left_of_a_frame_may_be_dropped(data: bytes) -> None:
    class Recording(_pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            imported.append((module, name))
            return dict

    imported: list[tuple[str, str]] = []
    with contextlib.suppress(Exception):
        Recording(io.BytesIO(p.proto(4) + data)).load()
    assert ATTACK in rules(p.proto(4) + data)
    if sys.version_info < (3, 13):  # later ones refuse such frames
        assert ("os", "system") in imported


def test_the_next_stream_may_begin_behind_the_frame() -> None:
    hidden = p.proto(4) + p.frame(p.NONE + p.STOP + b"junk") + RUN + p.STOP
    assert ATTACK in rules(hidden)
    assert ATTACK in rules(p.proto(4) + p.frame(p.NONE + p.STOP + b"C") + p.stream(4, p.NONE) + RUN + p.STOP)


def test_frames_as_programs_write_them() -> None:
    assert verdict(p.proto(4) + p.frame(p.EMPTY_LIST + p.MARK) + p.frame(b"NNe.")) is Outcome.CLEAN


@pytest.mark.parametrize(
    "value", ["1", "2", "0", "R", "t", "a", "s", "u", "e", "b", "\x81", "h\x00", "j\x00\x00\x00\x00"]
)
def test_an_empty_stack_is_no_crash(value: str) -> None:
    assert rules(p.proto(2) + value.encode("latin-1") + p.STOP) >= {"file.malformed"}
