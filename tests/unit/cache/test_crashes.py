"""Killed between any two steps."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def test_a_killed_process_loses_nothing_that_was_verified(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.cache_crashes", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    steps = [int(line.split()[1]) for line in done.stdout.splitlines()]
    assert len(steps) == 2
    assert min(steps) > 20
