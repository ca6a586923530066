"""`modelcar.programs`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelcar.errors import WorldError
from modelcar.programs import run_program

pytestmark = pytest.mark.slow


def test_what_it_says_and_how_it_ends() -> None:
    ended = run_program("sh", "-c", "echo said; echo first >&2; echo last >&2; exit 3", seconds=60)
    assert (ended.status, ended.output, ended.errors) == (3, "said\n", "first\nlast\n")
    assert ended.complaint == "last"


def test_one_that_fails_without_a_word_has_its_status() -> None:
    assert run_program("false", seconds=60).complaint == "exit status 1"


def test_arguments_are_seen_by_no_shell() -> None:
    assert run_program("printf", "%s", "$(id); `id` *", seconds=60).output == "$(id); `id` *"


def test_what_it_writes_may_be_no_text() -> None:
    assert run_program("printf", r"\377", seconds=60).output == "\ufffd"


def test_it_has_nothing_to_read_and_the_environment_that_it_is_given() -> None:
    environment = {"PATH": os.environ["PATH"], "WORD": "given"}
    ended = run_program("sh", "-c", 'cat; echo "$WORD $HOME."', seconds=60, environment=environment)
    assert ended.output == "given .\n"


def test_it_has_the_descriptors_that_it_is_given() -> None:
    reading, writing = os.pipe()
    with open(reading) as pipe:
        run_program("sh", "-c", f"echo through > /dev/fd/{writing}", seconds=60, descriptors=[writing])
        os.close(writing)
        assert pipe.read() == "through\n"


def test_one_that_is_not_there_is_one_line() -> None:
    with pytest.raises(WorldError, match=r"^no-such-program cannot be run: No such file or directory$") as caught:
        run_program("no-such-program", seconds=60, hint="install it")
    assert caught.value.hint == "install it"


def test_one_that_cannot_be_run_is_one_line(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("")
    with pytest.raises(WorldError, match=r"program cannot be run: Permission denied"):
        run_program(str(program), seconds=60)


def test_one_that_does_not_end_is_ended() -> None:
    with pytest.raises(WorldError, match=r"^sleep does not answer within 0.05 s$"):
        run_program("sleep", "600", seconds=0.05)
