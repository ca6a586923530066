"""The process of `registry-shim`, from its first moment on."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.unit.shim.command import ROOT

pytestmark = pytest.mark.slow


def test_a_signal_while_it_is_loaded_ends_it_without_a_word() -> None:
    """There is nothing to clean up yet; click is the first that it needs."""
    interrupting = "import os, signal, sys\nos.kill(os.getpid(), signal.SIGINT)\n"
    script = f"""
import importlib.abc, sys
class Interrupt(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "click":
            exec({interrupting!r})
sys.meta_path.insert(0, Interrupt())
from registry_shim.__main__ import run
run()
"""
    done = subprocess.run([sys.executable, "-c", script, "--version"], cwd=ROOT, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")
