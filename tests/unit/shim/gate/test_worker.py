"""The process that scans: what it needs to start."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def test_it_starts_without_the_registry_client() -> None:
    program = "import sys, registry_shim.gate.worker; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True).stdout
    assert not {"urllib3", "modelcar.registry.client", "modelcar.registry.session", "http.client"} & {*modules.split()}
