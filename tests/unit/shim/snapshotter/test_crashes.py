"""A snapshotter that is killed between any two steps leaves nothing that the next one stumbles over."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def test_kill_between_any_two_steps(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.snapshot_crashes", tmp_path], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
