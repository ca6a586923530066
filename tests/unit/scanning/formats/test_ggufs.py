"""GGUF: every byte is metadata that was looked at, a tensor, or zero."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from modelcar.scanning.findings import Outcome
from tests.support.scanning import findings_in, outcome, rules_found
from tests.support.weights import gguf_bytes

TENSORS: dict[str, tuple[int, tuple[int, ...], int]] = {"a": (0, (3,), 12), "b": (0, (8,), 32)}
TOKEN = "hf_" + "QwErTyUiOpAsDfGhJkLzXcVbNmPoIuYtRe"


def test_an_ordinary_file_is_clean() -> None:
    pairs: dict[str, tuple[str, Any]] = {
        "general.name": ("string", "x"),
        "tokenizer.ggml.tokens": ("[string]", [f"t{i}" for i in range(1000)]),
        "tokenizer.chat_template": ("string", "{{ messages[0]['content'] }}"),
    }
    assert findings_in("model.gguf", gguf_bytes(pairs, TENSORS)) == ()
    assert findings_in("vocabulary.gguf", gguf_bytes(pairs)) == ()
    assert findings_in("without-a-name", gguf_bytes(pairs, TENSORS)) == ()


@pytest.mark.parametrize("key", ["tokenizer.chat_template", "tokenizer.chat_template.tool_use", "my.chat_template"])
def test_templates_are_judged(key: str) -> None:
    assert rules_found("m.gguf", gguf_bytes({key: ("string", "{{ x.__class__ }}")}, TENSORS)) == {"template.attack"}
    assert rules_found("m.gguf", gguf_bytes({key: ("[string]", ["a", "{{ x.y() }}"])})) == {"template.beyond-subset"}


def test_secrets_anywhere_in_the_metadata() -> None:
    values: list[tuple[str, Any]] = [("string", TOKEN), ("[string]", ["x"] * 500 + [f"x {TOKEN}"])]
    for value in values:
        data = gguf_bytes({"a": value}, TENSORS)
        (finding,) = findings_in("m.gguf", data)
        assert (finding.rule.id, finding.offset) == ("secret.found", data.index(b"hf_"))


def test_what_lies_between_is_zero() -> None:
    data = bytearray(gguf_bytes({}, TENSORS))
    header = len(data) - 64  # two tensors, the first of twelve bytes and padded to 32
    for place in (header - 1, header + 12, header + 31):
        changed = bytearray(data)
        changed[place] = 1
        assert rules_found("m.gguf", bytes(changed)) == {"file.unaccounted-bytes"}
    changed = bytearray(data)
    changed[header + 32] = 1  # a tensor's own
    assert outcome("m.gguf", bytes(changed)) is Outcome.CLEAN


def test_nothing_follows() -> None:
    data = gguf_bytes({}, TENSORS)
    assert outcome("m.gguf", data + bytes(31)) is Outcome.CLEAN
    assert rules_found("m.gguf", data + b"payload") == {"file.unaccounted-bytes"}
    assert rules_found("m.gguf", data + bytes(2 << 20)) == {"file.unaccounted-bytes"}


@pytest.mark.parametrize(
    "data",
    [b"", b"GGUF", b"GGUF" + struct.pack("<IQQ", 4, 0, 0), b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0), b"not gguf" * 9],
)
def test_broken_files(data: bytes) -> None:
    assert rules_found("m.gguf", data) == {"file.malformed"}


def test_an_attack_in_a_file_that_breaks_after_it_is_still_one() -> None:
    data = gguf_bytes({"a": ("string", "x"), "tokenizer.chat_template": ("string", "{{ x.__class__ }}")}, TENSORS)
    twice = data.replace(b"\x01\0\0\0\0\0\0\0a", b"\x01\0\0\0\0\0\0\0\xff", 1)
    assert rules_found("m.gguf", twice) == {"file.malformed", "template.attack"}
    assert rules_found("m.gguf", data[:-70]) == {"file.malformed", "template.attack"}
