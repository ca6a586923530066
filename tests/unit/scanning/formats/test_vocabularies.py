"""SentencePiece and tiktoken: vocabularies and nothing else."""

from __future__ import annotations

import base64
import struct

import pytest

from modelcar.scanning.findings import Outcome
from tests.support.protobufs import message
from tests.support.scanning import findings_in, outcome, rules_found


def pieces(count: int = 3) -> bytes:
    return b"".join(message((1, message((1, f"▁piece{i}"), (2, -float(i)), (3, 1)))) for i in range(count))


CHARSMAP = struct.pack("<I", 8) + bytes(8) + b"a\0b\0"
TRAINER = message((1, "corpus.txt"), (3, 2), (4, 8000), (10, 0.9995), (36, "ab"), (44, " ⁇ "), (53, ""))
ORDINARY = pieces() + message((2, TRAINER), (3, message((1, "nmt_nfkc"), (2, CHARSMAP), (3, 1))))


@pytest.mark.parametrize("name", ["tokenizer.model", "spiece.model", "source.spm", "m.model", "tokenizer.model.v3"])
def test_sentencepiece(name: str) -> None:
    assert findings_in(name, ORDINARY) == ()


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"", "file.malformed"),
        (ORDINARY[:-1], "file.malformed"),
        (ORDINARY + b"x", "file.malformed"),
        (message((2, TRAINER)), "file.malformed"),
        (ORDINARY + message((200, b"extension")), "protobuf.unknown-field"),
        (pieces() + message((1, message((1, "x"), (9, b"payload")))), "protobuf.unknown-field"),
        (pieces() + message((2, message((99, 1)))), "protobuf.unknown-field"),
        (pieces() + message((3, message((2, struct.pack("<I", 99) + bytes(8))))), "file.malformed"),
        (pieces() + message((4, message((1, message((7, "x")))))), "protobuf.unknown-field"),
        (b"not a model", "file.malformed"),
    ],
)
def test_what_is_no_sentencepiece_model(data: bytes, rule: str) -> None:
    assert rules_found("tokenizer.model", data) == {rule}


def test_other_models_are_not_taken_for_vocabularies() -> None:
    assert rules_found("xgboost.model", b"binf" + bytes(40)) == {"file.unknown-format"}


def ranks(count: int) -> bytes:
    return b"".join(base64.b64encode(f"token{i}".encode()) + f" {i}\n".encode() for i in range(count))


@pytest.mark.parametrize("name", ["qwen.tiktoken", "tokenizer.model", "tiktoken.model"])
def test_tiktoken(name: str) -> None:
    assert findings_in(name, ranks(100_000)) == ()
    assert findings_in(name, ranks(3).rstrip(b"\n")) == ()
    assert findings_in(name, ranks(3).replace(b"\n", b"\r\n")) == ()


@pytest.mark.parametrize("wrong", [b"payload", b"YQ== x\n", b"YQ==  1\n", b"\0", b"YQ== 1\n\n", b"A" * 10_000])
def test_what_is_no_rank(wrong: bytes) -> None:
    data = ranks(100_000)
    (finding,) = findings_in("qwen.tiktoken", data + wrong + b"\nYQ== 2\n")
    assert finding.rule.id == "file.malformed"
    assert finding.offset is not None
    assert len(data) <= finding.offset <= len(data) + len(wrong)
    assert outcome("tokenizer.model", data + wrong) is Outcome.UNVERIFIED
