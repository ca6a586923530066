"""YAML files: read like Kubernetes reads them, and nothing that two readers could see differently."""

from __future__ import annotations

import pytest

from modelcar.errors import UsageError
from modelcar.signing.policy.documents import MAX_BYTES, parse_documents


def test_several_documents_and_scalars() -> None:
    text = b"a: no\nb: true\nc: '1'\nd: -7\ne: ~\nf: 2026-11-21\ng: 1.5\n---\n---\n- x\n---\n"
    assert parse_documents(text, "f") == [
        {"a": "no", "b": True, "c": "1", "d": -7, "e": None, "f": "2026-11-21", "g": 1.5},
        ["x"],
    ]


def test_json_is_yaml() -> None:
    assert parse_documents(b'{"a": ["x", null, {"b": false}]}', "f") == [{"a": ["x", None, {"b": False}]}]


def test_block_text_keeps_its_lines() -> None:
    assert parse_documents(b"data: |\n  -----BEGIN\n  x\n", "f") == [{"data": "-----BEGIN\nx\n"}]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"a: &x [1]\nb: 2\n", "anchors"),
        (b"a: 1\nb: *x\n", "not YAML|anchors"),
        (b"a: !!python/object:os.system {}\n", "tags"),
        (b"a: !!str 1\n", "tags"),
        (b"a: ! 1\n", "tags"),
        (b"%TAG ! tag:example.com,2026:\n---\na: 1\n", "tags"),
        (b"a: 1\nb: {c: 1, c: 2}\n", "'c' is there twice"),
        (b"a: 1\n'a': 2\n", "'a' is there twice"),
        (b"1: a\n", "a key is not text"),
        (b"[a]: b\n", "a key is not text"),
        (b"? {a: b}\n: c\n", "a key is not text"),
        (b"a: [1\n", "line 2: not YAML"),
        (b"a: b: c\n", "not YAML"),
        (b"a: \x00\n", "not YAML"),
        (b"a: \xff\n", "not UTF-8"),
        (b"[" * 40 + b"]" * 40, "nested more than"),
        (b"[" * 100_000, "nested more than"),
        (b"# " + b"x" * MAX_BYTES, "at most"),
    ],
)
def test_what_is_refused(text: bytes, problem: str) -> None:
    with pytest.raises(UsageError, match=problem) as caught:
        parse_documents(text, "policy.yaml")
    assert str(caught.value).startswith("policy.yaml")
    assert caught.value.exit_status == 2


def test_an_alias_bomb_is_refused_before_it_expands() -> None:
    lines = [b"a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [b"a%d: &a%d [%s]" % (i, i, b", ".join([b"*a%d" % (i - 1)] * 9)) for i in range(1, 30)]
    with pytest.raises(UsageError, match="line 1: YAML anchors"):
        parse_documents(b"\n".join(lines), "bomb.yaml")


def test_a_merge_key_is_an_ordinary_key() -> None:
    assert parse_documents(b"<<: {a: 1}\n", "f") == [{"<<": {"a": 1}}]
