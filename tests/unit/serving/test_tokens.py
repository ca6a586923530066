"""Files of tokens: what is let in, and what is refused because it could be meant in two ways."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelcar.errors import StorageError, UsageError
from modelcar.serving.tokens import read_tokens

A, B = "a" * 15 + "1", "b" * 15 + "2"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.touch(0o600)
    return path


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_names_and_their_tokens(file: Path, newline: str) -> None:
    lines = ["# pipelines", f"ci-1:{A}", "", f"ci-2@example:{B}=", f"ci-1:{B}  ", "   # later: more"]
    file.write_text(newline.join(lines), newline="")
    tokens = read_tokens(file)
    assert [tokens.whose(token) for token in (A, B, f"{B}=")] == ["ci-1", "ci-1", "ci-2@example"]
    assert [tokens.whose(token) for token in ("", A[:-1], f"{A}x", f"ci-1:{A}", "\udcff", "ä")] == [None] * 6
    assert A not in repr(tokens)


def test_a_file_without_any_lets_nobody_in(file: Path) -> None:
    assert read_tokens(file).whose("") is None


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (A, "1 is not a name, a colon"),
        (f"a:{A}\n{B}\n", "2 is not a name, a colon"),
        (f":{A}", "1 is not a name, a colon"),
        (f" a:{A}", "1 is not a name, a colon"),
        (f"\u200ba:{A}", "1 is not a name, a colon"),
        ("a:short", "1: the token of a has less than 16 characters"),
        ("a:", "1: the token of a has less than 16 characters"),
        (f"a: {A}", "1: the token of a has characters"),
        (f"a:{A} # comment", "1: the token of a has characters"),
        (f"a:b:{A}", "1: the token of a has characters"),
        (f"a:{A[:8]}ä{A[8:]}", "1: the token of a has characters"),
        (f"a:{A}\nb:{A}", "2: b has the token of a"),
        (f"a:{A}\na:{A}", "2: a has the token of a"),
    ],
)
def test_lines_that_could_be_meant_in_two_ways(file: Path, content: str, problem: str) -> None:
    file.write_text(content)
    with pytest.raises(UsageError) as caught:
        read_tokens(file)
    assert str(caught.value).startswith(f"{file}:{problem}")
    assert A[:8] not in str(caught.value).removeprefix(str(file))


def test_a_name_that_is_no_text(file: Path) -> None:
    file.write_bytes(b"\xff:" + A.encode())
    with pytest.raises(UsageError, match="1 is not a name"):
        read_tokens(file)


def test_a_file_that_goes_on_beyond_what_is_read(file: Path) -> None:
    """Else its last token would be cut, and be another one."""
    line = f"a:{A}"
    file.write_text("#" * ((4 << 20) - len(line) - 1) + "\n" + line + "more")
    with pytest.raises(UsageError, match="has more than 4 MiB"):
        read_tokens(file)


def test_files_that_others_may_read_or_nobody_can(file: Path, tmp_path: Path) -> None:
    file.write_text(f"a:{A}")
    file.chmod(0o604)
    with pytest.raises(UsageError, match="can be read by everyone"):
        read_tokens(file)
    with pytest.raises(StorageError, match=r"cannot read .*: No such file"):
        read_tokens(tmp_path / "none")
