"""TensorFlow's graphs are never clean, and operators that reach beyond them are found however they are written."""

from __future__ import annotations

import pytest

from modelcar.scanning.formats.graphs import FORMATS
from tests.support.containers import found_in, rules_in

HARMLESS = b"\x0a\x09\x0a\x01x\x12\x04Relu"
DANGER = {"tensorflow.graph", "tensorflow.dangerous-operator"}


def rules(data: bytes, name: str = "saved_model.pb") -> set[str]:
    return rules_in(FORMATS, data, name=name)


def test_a_graph_is_never_clean() -> None:
    assert rules(HARMLESS) == {"tensorflow.graph"}
    assert rules(b"\x08\x01\x12\x20\x0a\x10" + HARMLESS, "renamed.bin") == {"tensorflow.graph"}


@pytest.mark.parametrize("name", ["ReadFile", "WriteFile", "MatchingFiles", "PyFunc", "PyFuncStateless", "EagerPyFunc"])
def test_operators_that_reach_beyond_the_graph(name: str) -> None:
    plain = b"\x12" + bytes([len(name)]) + name.encode()
    padded = b"\x92\x80\x80\x00" + bytes([len(name) | 0x80]) + b"\x00" + name.encode()
    text = f'node {{\n  op : "{name}"\n}}'.encode()
    for node in (plain, padded, text):
        (finding,) = (f for f in found_in(FORMATS, HARMLESS + node, name="g.pb") if f.rule.id != "tensorflow.graph")
        assert (finding.rule.id, finding.detail) == ("tensorflow.dangerous-operator", f"'{name}'")


@pytest.mark.parametrize("offset", [-12, -5, -1, 0])
def test_they_are_found_anywhere_in_a_large_graph(offset: int) -> None:
    filler = bytes((1 << 20) + offset)
    (_, finding) = found_in(FORMATS, filler + b"\x12\x08ReadFile" + bytes(100), name="g.pb")
    assert finding.offset == len(filler)


def test_names_that_only_contain_them_are_none() -> None:
    assert rules(b"\x12\x0bReadFileNot\x12\x06MyOp/ReadFile the name of a layer") == {"tensorflow.graph"}
