"""ONNX: weights that lie outside the folder, operators that no standard has, bytes that are no model."""

from __future__ import annotations

import struct
from typing import Final

from tests.corpus.formats.pickles import stream
from tests.corpus.formats.protobuf import message, number, onnx_model, onnx_node, onnx_tensor, text
from tests.corpus.malicious.common import ATTACK
from tests.corpus.specimen import NEVER_CLEAN, Specimen

WEIGHTS: Final = struct.pack("<4f", 1, 0, 0, 1)
MATMUL: Final = onnx_node("MatMul")


def specimens() -> list[Specimen]:
    return [*_external(), *_operators(), *_malformed()]


def _file(name: str, reference: str, description: str, content: bytes, *, weights: bytes | None = None) -> Specimen:
    """A model, and its external data where there are some."""
    return Specimen(
        name=f"onnx-{name}",
        category="onnx",
        reference=reference,
        description=description,
        files={"model.onnx": content} | ({} if weights is None else {"weights.bin": weights}),
        expected=NEVER_CLEAN,
    )


def _external() -> list[Specimen]:
    places = {
        "parent": ("A parent of the folder", {"location": "../../../etc/passwd"}),
        "absolute": ("An absolute path", {"location": "/etc/passwd"}),
        "hidden-parent": ("A parent by way of a folder that exists", {"location": "data/../../secret.bin"}),
        "windows": ("A parent in Windows' spelling", {"location": "..\\..\\secret.bin"}),
        "url": ("A server's address", {"location": "http://127.0.0.1:9/weights"}),
        "missing": ("A file that is not there", {"location": "weights.bin"}),
        "offset-negative": ("A negative offset", {"location": "weights.bin", "offset": "-16", "length": "16"}),
        "beyond-end": (
            "A range behind the file's end",
            {"location": "weights.bin", "offset": "4096", "length": "1099511627776"},
        ),
    }
    beside = {"offset-negative", "beyond-end"}
    found = [
        _file(
            f"external-{name}",
            "external data",
            f"A tensor's data lie elsewhere: {description.lower()}",
            onnx_model(nodes=[MATMUL], tensors=[onnx_tensor("w", external=entries)]),
            weights=WEIGHTS if name in beside else None,
        )
        for name, (description, entries) in places.items()
    ]
    twice = onnx_tensor("w", external={"location": "weights.bin"}) + message(13, text(1, "location") + text(2, "../x"))
    model = onnx_model(nodes=[MATMUL], tensors=[twice])
    return [
        *found,
        _file("external-twice", "external data", "Two places, of which one leaves the folder", model, weights=WEIGHTS),
    ]


def _operators() -> list[Specimen]:
    tensors = [onnx_tensor("w", raw=WEIGHTS)]
    custom = onnx_node("RunScript", domain="com.acme.ops")
    python = onnx_node("PyOp", domain="com.microsoft")
    body = text(2, "inner") + message(1, custom)
    branch = message(5, text(1, "then_branch") + message(6, body) + number(20, 5))
    nested = onnx_node("If", attributes=branch)
    function = message(
        25, text(1, "Helper") + text(4, "x") + text(4, "w") + text(5, "y") + message(7, custom) + text(10, "acme")
    )
    return [
        _file(
            "custom-operator",
            "custom operator",
            "An operator that a native library must bring",
            onnx_model(nodes=[custom], tensors=tensors, domains=("com.acme.ops",)),
        ),
        _file(
            "python-operator",
            "custom operator",
            "The operator that calls Python",
            onnx_model(nodes=[python], tensors=tensors, domains=("com.microsoft",)),
        ),
        _file(
            "custom-operator-in-branch",
            "custom operator",
            "The same within a branch of an If",
            onnx_model(nodes=[nested], tensors=tensors),
        ),
        _file(
            "custom-operator-in-function",
            "custom operator",
            "The same within a function of the model",
            onnx_model(nodes=[MATMUL], tensors=tensors, functions=function),
        ),
    ]


def _malformed() -> list[Specimen]:
    honest = onnx_model(nodes=[MATMUL], tensors=[onnx_tensor("w", raw=WEIGHTS)])
    deep = MATMUL
    for _ in range(3_000):
        deep = onnx_node("If", attributes=message(5, text(1, "then_branch") + message(6, message(1, deep))))
    return [
        _file("truncated", "malformed", "The last message is cut short", honest[:-9]),
        _file(
            "unknown-field",
            "trailing bytes",
            "A pickle in a field that ONNX does not have",
            honest + message(4000, stream(4, ATTACK)),
        ),
        _file(
            "length-exabyte", "malformed", "A message that claims an exabyte", honest + b"\x3a" + b"\xff" * 8 + b"\x0f"
        ),
        _file("varint-endless", "malformed", "A number without an end", honest + b"\x08" + b"\x80" * 1000),
        _file(
            "deep", "resource exhaustion", "Graphs within graphs, thousands deep", onnx_model(nodes=[deep], tensors=[])
        ),
        _file(
            "raw-too-short",
            "malformed",
            "A tensor with fewer bytes than its shape",
            onnx_model(nodes=[MATMUL], tensors=[onnx_tensor("w", dims=(1000, 1000), raw=WEIGHTS)]),
        ),
    ]
