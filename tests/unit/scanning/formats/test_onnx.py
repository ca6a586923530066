"""ONNX: every field is known, every operator defined, every path inside the folder, every tensor as long as it says."""

from __future__ import annotations

import struct

import pytest

from modelcar.scanning.findings import Outcome
from tests.support.protobufs import message, varint
from tests.support.scanning import findings_in, outcome, rules_found

FLOAT, STRING, COMPLEX64, INT4 = 1, 8, 14, 22
TOKEN = "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"


def tensor(*fields: tuple[int, int | float | bytes | str], dims: tuple[int, ...] = (2, 3), kind: int = FLOAT) -> bytes:
    return message(*((1, n) for n in dims), (2, kind), (8, "weight"), *fields)


def node(operator: str = "Relu", domain: str = "", *fields: tuple[int, int | bytes | str]) -> bytes:
    return message((1, "x"), (2, "y"), (4, operator), (7, domain), *fields)


def graph(*fields: tuple[int, int | bytes | str]) -> bytes:
    value = message((1, "x"), (2, message((1, message((1, FLOAT), (2, message((1, message((1, 3))))))))))
    return message((2, "graph"), (11, value), (12, value), *fields)


def model(*fields: tuple[int, int | bytes | str], more: tuple[tuple[int, int | bytes | str], ...] = ()) -> bytes:
    """A model with a graph of these fields, and `more` fields of its own."""
    return message((1, 8), (2, "pytorch"), (3, "2.9"), (7, graph(*fields)), (8, message((2, 17))), *more)


def external(**entries: str) -> bytes:
    return tensor(*((13, message((1, key), (2, value))) for key, value in entries.items()), (14, 1))


ORDINARY = model((1, node()), (5, tensor((9, bytes(24)))))


@pytest.mark.parametrize("name", ["model.onnx", "without-a-name"])
def test_an_ordinary_model_is_clean(name: str) -> None:
    assert findings_in(name, ORDINARY) == ()


@pytest.mark.parametrize(
    "content",
    [
        tensor((4, struct.pack("<6f", *range(6)))),
        tensor((4, struct.pack("<6f", *range(6))), dims=(3,), kind=COMPLEX64),
        tensor((9, bytes(3)), dims=(5,), kind=INT4),
        tensor((6, "a"), (6, "b"), dims=(2,), kind=STRING),
        tensor((9, bytes(4)), dims=()),
        tensor((9, b""), dims=(0, 7)),
        tensor((5, varint(300) + varint(2)), dims=(2,), kind=6),
        tensor((5, 300), (5, 2), dims=(2,), kind=6),
        tensor((5, varint(0x21)), dims=(2,), kind=INT4),
        tensor((7, varint(-1) + varint(5)), dims=(2,), kind=7),
        tensor((4, 1.5), (4, 2.5), dims=(2,)),
        tensor((10, struct.pack("<4d", 1, 2, 3, 4)), dims=(2,), kind=15),
        message((1, varint(2) + varint(3)), (2, FLOAT), (9, bytes(24))),  # packed dimensions
    ],
)
def test_tensors_of_every_kind(content: bytes) -> None:
    assert findings_in("model.onnx", model((1, node()), (5, content))) == ()


@pytest.mark.parametrize(
    "content",
    [
        tensor((9, bytes(25))),
        tensor((9, bytes(23))),
        tensor((4, bytes(28))),
        tensor((9, bytes(24)), dims=(2**40, 2**40)),
        tensor((9, bytes(12)), (9, bytes(24))),
        tensor((9, bytes(24)), kind=0),
        tensor((9, bytes(24)), kind=99),
        tensor((9, bytes(24)), kind=STRING),
        message((9, bytes(24))),
        tensor((5, varint(1) * 7), kind=6),
        tensor((7, varint(1) * 5), kind=7),
        tensor((10, bytes(8)), kind=11),
        tensor((9, bytes(24)), dims=(-1,)),
        tensor((9, bytes(24)), (13, message((1, "location"), (2, "x")))),
    ],
)
def test_tensors_that_are_not_as_long_as_they_say(content: bytes) -> None:
    for data in (
        model((1, node()), (5, content)),
        model((1, node("Constant", "", (5, message((1, "value"), (5, content)))))),
    ):
        assert "onnx.tensor-size" in rules_found("model.onnx", data)


@pytest.mark.parametrize(
    "location",
    [
        "/etc/passwd",
        "../../etc/passwd",
        "data/../../x",
        "..\\x",
        "C:\\x",
        "\\\\host\\x",
        "~/x",
        "http://x/y",
        "*/_ORT_MEM_ADDR_/*",
    ],
)
def test_paths_that_leave_the_folder_are_malicious(location: str) -> None:
    places = (
        (5, external(location=location)),
        (1, node("Constant", "", (5, message((1, "v"), (5, external(location=location)))))),
        (15, message((1, external(location=location)))),
    )
    for place in places:
        assert "onnx.path-escape" in rules_found("model.onnx", model(place))


def test_data_beside_the_model_cannot_be_vouched_for() -> None:
    assert rules_found("m.onnx", model((5, external(location="m.onnx_data", offset="0", length="24")))) == {
        "onnx.external-data"
    }
    assert rules_found("m.onnx_data", bytes(24)) == {"onnx.external-data-file"}
    assert rules_found("model.onnx.data", bytes(24)) == {"onnx.external-data-file"}
    assert "file.malformed" in rules_found("m.onnx", model((5, external(location="x", offset="-1"))))


@pytest.mark.parametrize(
    ("place", "rule"),
    [
        ((1, node("Thing", "com.example")), "onnx.custom-operator"),
        ((1, node("Thing", "ai.onnx.evil")), "onnx.custom-operator"),
        ((1, node("PyOp", "pyopmulti_1")), "onnx.python-operator"),
        ((1, node("PyCustomOp", "ai.onnx.contrib")), "onnx.python-operator"),
        ((1, node("EPContext", "com.microsoft")), "onnx.compiled-part"),
        ((1, node("If", "", (5, message((1, "then"), (6, graph((1, node("Thing", "x")))))))), "onnx.custom-operator"),
        ((1, node("X", "", (5, message((1, "all"), (11, graph((1, node("Thing", "x")))))))), "onnx.custom-operator"),
    ],
)
def test_operators_that_onnx_does_not_define(place: tuple[int, bytes], rule: str) -> None:
    assert rules_found("model.onnx", model(place)) == {rule}


def test_operators_that_the_model_defines_itself() -> None:
    def function(inside: bytes) -> tuple[tuple[int, bytes], ...]:
        return ((25, message((1, "Thing"), (7, inside), (10, "mine"))),)

    assert findings_in("model.onnx", model((1, node("Thing", "mine")), more=function(node()))) == ()
    other = model((1, node("Thing", "mine")), more=function(node("Other", "somebody")))
    assert rules_found("model.onnx", other) == {"onnx.custom-operator"}
    assert findings_in("model.onnx", model((1, node("LayerNormalization", "com.microsoft")))) == ()


@pytest.mark.parametrize("field", [(99, b"payload"), (12, 5)])
def test_unknown_fields(field: tuple[int, int | bytes]) -> None:
    assert rules_found("model.onnx", ORDINARY + message(field)) == {"protobuf.unknown-field"}
    assert rules_found("model.onnx", model((1, node("Relu", "", field)))) == {"protobuf.unknown-field"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x08",
        ORDINARY[:-1],
        ORDINARY + b"\0",
        ORDINARY + b"\x0b",
        ORDINARY + b"x",
        message((1, 8), (2, "pytorch")),
        message((7, 5)),
        b"\x08" + b"\xff" * 20,
        b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        model((1, message((4, b"\xff")))),
    ],
)
def test_what_is_no_model_is_malformed(data: bytes) -> None:
    assert "file.malformed" in rules_found("model.onnx", data)


def test_nesting_is_bounded() -> None:
    inner = graph()
    for _ in range(100):
        inner = graph((1, node("If", "", (5, message((1, "then"), (6, inner))))))
    assert rules_found("model.onnx", model((1, node("If", "", (5, message((1, "t"), (6, inner))))))) == {
        "scan.limit-exceeded"
    }


def test_secrets_in_what_is_said_about_a_model() -> None:
    for more in ((6, TOKEN), (14, message((1, "token"), (2, TOKEN)))):
        data = model((1, node()), more=(more,))
        (finding,) = findings_in("model.onnx", data)
        assert (finding.rule.id, finding.offset) == ("secret.found", data.index(b"hf_"))


def test_a_payload_behind_it_is_not_clean() -> None:
    assert outcome("model.onnx", ORDINARY + b"#!/bin/sh\n") is not Outcome.CLEAN
