"""What the command line takes and refuses."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .harness import Holder

pytestmark = pytest.mark.slow


def run(holder: Holder, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(holder.program), *arguments], capture_output=True, text=True, timeout=10)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ("nonsense", "nonsense: unknown argument"),
        ("publish --to /v extra", "extra: unknown argument"),
        ("publish --to /v --force", "--force: unknown argument"),
        ("publish --tools=/v", "--tools=/v: unknown argument"),
        ("publish --to", "--to: needs a value"),
        ("publish --to volume", "--to: not an absolute path"),
        ("publish --to=", "--to=: not an absolute path"),
        ("publish --to /", "--to: the root folder cannot be used here"),
        ("publish --to /v/../w", "--to: a path with . or .. in it"),
        ("publish --to /v --link hard", "--link: neither farm nor directory"),
        (f"publish --to /{'n' * 256}", "--to: a name in this path is too long"),
        (f"publish --to {'/' + 'n' * 250}" * 1 + "/n" * 2000, "--to: this path is too long"),
        ("publish", "publish: needs --to DIR"),
        ("ready", "ready: needs --to DIR"),
        ("hold --to /v", "hold: takes no --to"),
        ("--to /v", "--to: takes no --to"),
        ("hold --link farm", "--link: unknown argument"),
        ("version --model /m", "--model: unknown argument"),
        ("publish --to /models", "publish: --to and --model lie in each other"),
        ("publish --to /models/sub/", "publish: --to and --model lie in each other"),
        ("publish --to /mnt --model /mnt/models", "publish: --to and --model lie in each other"),
    ],
)
def test_wrong_usage_says_what_and_how_and_exits_2(holder: Holder, arguments: str, why: str) -> None:
    done = run(holder, *arguments.split())
    assert (done.returncode, done.stdout) == (2, "")
    first, second = done.stderr.splitlines()[:2]
    assert first.startswith(f"holder: {why}")
    assert second.startswith("usage: holder ")


@pytest.mark.parametrize("arguments", [["help"], ["--help"], ["-h"]])
def test_help_is_the_usage(holder: Holder, arguments: list[str]) -> None:
    done = run(holder, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: holder ")


@pytest.mark.parametrize("arguments", [["version"], ["--version"]])
def test_version_names_the_contract(holder: Holder, arguments: list[str]) -> None:
    done = run(holder, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "modelcar-holder 1"


def test_models_beside_the_target_are_not_taken_for_nested(holder: Holder) -> None:
    done = run(holder, "ready", "--to", "/models-beside/x")
    assert done.returncode == 1
    assert "nothing is published yet" in done.stderr
