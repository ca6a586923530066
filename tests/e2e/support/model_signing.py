"""OpenSSF's model_signing, installed from PyPI into a virtual environment of its own."""

from __future__ import annotations

import os
import subprocess
import venv
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.support.commands import Done, run

__all__ = ["ModelSigning", "model_signing"]

_FOLDER: Final = Path(__file__).parents[3] / ".cache" / "e2e" / "model-signing"
_PACKAGES: Final = ("model-signing>=1.1,<2", "pyOpenSSL")  # which it imports and does not declare


_VERIFY: Final = """
import sys
from pathlib import Path
from model_signing.verifying import Config
folder, signature, key = map(Path, sys.argv[1:])
Config().use_elliptic_key_verifier(public_key=key).verify(folder, signature)
"""


class ModelSigning:
    """The command."""

    def __init__(self, python: Path) -> None:
        self._python = python

    def __call__(self, *arguments: str | Path, check: bool = True) -> Done:
        return run(self._python, "-m", "model_signing", *arguments, check=check)

    def verify_by_library(self, folder: Path, signature: Path, key: Path, *, check: bool = True) -> Done:
        """Its command takes every manifest for one by whole files; its library looks."""
        return run(self._python, "-c", _VERIFY, folder, signature, key, check=check)


def model_signing() -> ModelSigning:
    """Install it unless it is here. Where there is no package index the test is skipped; in CI that is a failure."""
    python = _FOLDER / "bin" / "python"
    if not python.exists() or run(python, "-m", "model_signing", "--version", check=False).returncode:
        venv.create(_FOLDER, with_pip=True, clear=True)
        pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", *_PACKAGES]
        done = subprocess.run([str(python), *pip], capture_output=True, text=True)
        if done.returncode:
            give_up = pytest.fail if os.environ.get("CI") else pytest.skip
            give_up(f"model_signing cannot be installed: {done.stderr[-500:]}")
    return ModelSigning(python)
