"""The runner of the tiers: what fails runs once more, and nothing that fails twice passes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

STEADY = "def test_steady():\n    pass\n"
BROKEN = "def test_broken_{}():\n    assert False\n"
UNSTEADY = """
def test_unsteady(once=__import__("pathlib").Path(__file__).with_name("once")):
    there = once.exists()
    once.touch()
    assert there
"""
ONLY_XDIST = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "xdist.plugin"}
"""What it calls pytest with, and nothing that would take longer to load than the tests."""


def run(folder: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_here.py").write_text("\n".join(tests))
    (folder / "pytest.ini").touch()
    root = Path(__file__).parents[3]
    return subprocess.run(
        [sys.executable, "-m", "scripts.run_tests", "test_here.py"],
        cwd=folder,
        env={**os.environ, **ONLY_XDIST, "PYTHONPATH": str(root), "GITHUB_ACTIONS": "true"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_passes_runs_once(tmp_path: Path) -> None:
    done = run(tmp_path, STEADY)
    assert (done.returncode, "once more" in done.stdout) == (0, False)


def test_what_fails_twice_fails(tmp_path: Path) -> None:
    done = run(tmp_path, STEADY, BROKEN.format(1))
    assert done.returncode == 1
    assert "once more, alone: test_here.py::test_broken_1" in done.stdout
    assert "UNSTEADY" not in done.stdout


def test_what_passes_alone_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, STEADY, UNSTEADY)
    assert done.returncode == 0
    assert "UNSTEADY: test_here.py::test_unsteady " in done.stdout
    assert "::warning title=unsteady test::test_here.py::test_unsteady" in done.stdout


def test_one_that_is_steady_in_failing_outweighs_one_that_is_not(tmp_path: Path) -> None:
    done = run(tmp_path, UNSTEADY, BROKEN.format(1))
    assert done.returncode == 1


def test_many_failures_are_no_accident(tmp_path: Path) -> None:
    done = run(tmp_path, UNSTEADY, *(BROKEN.format(n) for n in range(5)))
    assert (done.returncode, "once more" in done.stdout) == (1, False)


@pytest.mark.parametrize(("tests", "status"), [("def test_(:", 2), ("", 5)], ids=["no Python", "no tests"])
def test_what_could_not_run_fails(tmp_path: Path, tests: str, status: int) -> None:
    assert run(tmp_path, tests).returncode == status
