"""A file into documents and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelcar.admission.files.stream import split

PIECES = [
    "---",
    "...",
    "\n",
    "\r\n",
    "a: b",
    "  ",
    "# c",
    "{",
    "}",
    '{"a": 1}',
    "--- ",
    "\ufeff",
    "%YAML 1.1",
    "|",
    "'",
]


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_joined_it_is_the_same_again(text: str) -> None:
    assert "".join(document.head + document.body for document in split(text)) == text


def bodies(text: str) -> list[str]:
    return [document.body.strip() for document in split(text) if not document.is_empty]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\n---\nb: 2\n", ["a: 1", "b: 2"]),
        ("---\na: 1\n---\n---\nb: 2", ["a: 1", "b: 2"]),
        ("%YAML 1.1\n---\na: 1\n...\n# end\n", ["a: 1"]),
        ("a: 1\r\n---\r\nb: 2\r\n", ["a: 1", "b: 2"]),
        ("--- {a: 1}\n--- # two\nb: 2\n", ["{a: 1}", "# two\nb: 2"]),
        ("a: |\n  ---\n  b\n", ["a: |\n  ---\n  b"]),
        ("a: ---b\n---b: 1\n", ["a: ---b\n---b: 1"]),
        ('{"a": "---"}\n{"b": {}} {"c": []}\n', ['{"a": "---"}', '{"b": {}}', '{"c": []}']),
        ('{"a": 1}\n---\n{"b": 1}', ['{"a": 1}', '{"b": 1}']),
        ("{a: b}\n", ["{a: b}"]),
        ("", []),
        ("# only\n\n", []),
    ],
)
def test_documents(text: str, expected: list[str]) -> None:
    assert bodies(text) == expected


def test_lines_are_those_of_the_file() -> None:
    text = "\n# one\na: 1\n--- # two\nb: 2\n---\n{}\n{\n}\n"
    assert [(document.line, document.body.strip()[:5]) for document in split(text)] == [
        (1, "# one"),
        (4, "# two"),
        (6, "{}"),
        (7, "{\n}"),
    ]
