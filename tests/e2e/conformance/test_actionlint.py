"""actionlint on the workflows: expressions, contexts, inputs of actions, and ShellCheck on every `run`.

It is compiled from its published Go module into `.cache/go`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.support.commands import BIN, run
from tests.support.golang import install_go

pytestmark = pytest.mark.conformance

ROOT = Path(__file__).parents[3]
ACTIONLINT = ("github.com/rhysd/actionlint/cmd/actionlint", "v1.7.12")
# GitHub has had them since after that version.
YOUNGER = 'property "workflow_(repository|sha)" is not defined'


def test_workflows_are_clean() -> None:
    files = [*sorted(ROOT.glob(".github/workflows/*.yml")), ROOT / "examples/ci/github.yml"]
    program = install_go(*ACTIONLINT)
    done = run(program, "-ignore", YOUNGER, "-shellcheck", BIN / "shellcheck", *files, check=False)
    assert done.returncode == 0, done.stdout
