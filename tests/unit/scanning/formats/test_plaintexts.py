"""Texts under names that nothing executes, pointers, and templates in files of their own."""

from __future__ import annotations

import pytest

from modelcar.scanning.findings import Outcome
from tests.support.scanning import findings_in, outcome, rules_found


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "LICENSE",
        "LICENSE-APACHE",
        "model_license",
        "NOTICE.txt",
        "merges.txt",
        "vocab.txt",
        ".gitattributes",
        "data/train.tsv",
        "spm.vocab",
        "pyproject.toml",
    ],
)
def test_texts_are_clean(name: str) -> None:
    assert findings_in(name, "One line\nand ünother\ttab\r\n".encode()) == ()
    assert findings_in(name, b"\xef\xbb\xbf") == ()
    assert findings_in(name, b"") == ()


@pytest.mark.parametrize("name", ["Makefile", "run", "model.unknown", "notes.exe", "license.py"])
def test_other_names_are_not_clean(name: str) -> None:
    assert outcome(name, b"text") is Outcome.UNVERIFIED


@pytest.mark.parametrize(
    "data", [b"a\0b", b"\xff\xfe", "text".encode("utf-16"), b"half of \xc3", b"x" * (1 << 20) + b"\0"]
)
def test_what_is_not_text_is_malformed(data: bytes) -> None:
    assert rules_found("README.md", data) == {"file.malformed"}


def test_the_offset_of_what_is_wrong() -> None:
    piece = b"x" * ((1 << 20) - 1)
    (finding,) = findings_in("README.md", piece + "ü".encode() + b"\xff")
    assert finding.offset == len(piece) + 2


def test_a_character_may_lie_across_two_pieces() -> None:
    assert findings_in("README.md", b"x" * ((1 << 20) - 1) + "ü".encode()) == ()


def test_escape_sequences_are_noted() -> None:
    assert rules_found("README.md", b"\x1b[2Jnothing to see") == {"text.escape-sequences"}
    assert outcome("README.md", b"\x1b[2J") is Outcome.CLEAN


def test_secrets_across_pieces() -> None:
    token = b"ghp_" + b"QwErTyUiOpAsDfGhJkLzXcVbNmPoIuYtReWq"
    data = b" " * ((1 << 20) - 10) + token + b"\n" + token
    assert [(f.rule.id, f.offset) for f in findings_in("README.md", data)] == [
        ("secret.found", (1 << 20) - 10),
        ("secret.found", (1 << 20) + 31),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "--extra-index-url https://x",
        "git+https://x/y",
        "-e ./local",
        "torch @ https://x/y.whl",
        "-i https://x",
        "-f https://x",
    ],
)
def test_packages_from_elsewhere_are_noted(line: str) -> None:
    assert rules_found("requirements.txt", f"numpy>=1\n{line}\n".encode()) == {"text.foreign-packages"}
    assert findings_in("notes.txt", line.encode()) == ()


def test_ordinary_requirements() -> None:
    assert findings_in("requirements.txt", b"numpy>=1\ntorch[cuda]==2.0 ; python_version > '3'\n# https://x\n") == ()


POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "README.md", "model"])
def test_pointers_say_so_and_nothing_else(name: str) -> None:
    (finding,) = findings_in(name, POINTER)
    assert (finding.rule.id, finding.detail) == ("file.lfs-pointer", "the file has 12345 bytes")


@pytest.mark.parametrize("data", [POINTER + b"more", POINTER.replace(b"size", b"bulk"), POINTER + b"\0" * 2000])
def test_only_strict_pointers_are_pointers(data: bytes) -> None:
    assert "file.lfs-pointer" not in rules_found("model.safetensors", data)
    assert outcome("model.safetensors", data) is Outcome.UNVERIFIED


def test_templates_in_files() -> None:
    assert findings_in("chat_template.jinja", b"\xef\xbb\xbf{{ messages[0].content }}") == ()
    assert rules_found("additional_chat_templates/tool_use.jinja", b"a\n{{ x.__class__ }}") == {"template.attack"}
    assert rules_found("chat_template.jinja", b"\xff") == {"file.malformed"}
    assert rules_found("chat_template.jinja", b"{{ x }}\0") == {"file.malformed"}
    assert outcome("chat_template.jinja", b"x" * 3_000_000) is Outcome.UNVERIFIED


def test_settings_that_pythons_logging_evaluates() -> None:
    honest = b"[handlers]\nkeys=a\n[handler_a]\nclass=StreamHandler\nargs=(sys.stdout,)\n"
    assert rules_found("logging.conf", honest) == {"config.call-target"}
    assert rules_found("logging.ini", honest + b"args=(__import__('os').system('id'),)") == {"config.dangerous-call"}
    assert rules_found("setup.cfg", b"[metadata]\nname = a\n") == set()
