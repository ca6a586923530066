"""modelcar with its extra `second-opinions`, installed as users do, into a virtual environment of its own."""

from __future__ import annotations

import hashlib
import json
import subprocess
import venv
from pathlib import Path
from typing import Any, Final

from tests.e2e.support.commands import run
from tests.support.skips import unavailable

__all__ = ["Scanners", "second_opinions"]

_ROOT: Final = Path(__file__).parents[3]
_FOLDER: Final = _ROOT / ".cache" / "e2e" / "second-opinions"
_ASK: Final = """
import json, sys
from modelcar.checkpoint import open_checkpoint
from modelcar.scanning.checkpoint import scan_checkpoint
from modelcar.scanning.plugins.loading import load_plugins
from modelcar.scanning.settings import ScanSettings
settings = ScanSettings(plugins=load_plugins(sys.argv[2:]))
print(json.dumps(scan_checkpoint(open_checkpoint(sys.argv[1]), settings).to_dict()))
"""


class Scanners:
    """The real ones."""

    def __init__(self, python: Path) -> None:
        self._python = python

    def scan(self, folder: Path, *names: str) -> dict[str, Any]:
        """The report on a folder, with the help of the scanners with these names."""
        report: dict[str, Any] = json.loads(run(self._python, "-c", _ASK, folder, *names, within=300).stdout)
        return report


def second_opinions() -> Scanners:
    """Install them unless they are here. Where there is no package index the test is skipped, in CI it fails."""
    python, stamp = _FOLDER / "bin" / "python", _FOLDER / "installed"
    wanted = hashlib.sha256((_ROOT / "pyproject.toml").read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        venv.create(_FOLDER, with_pip=True, clear=True)
        pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command = [str(python), *pip, "--editable", f"{_ROOT}[second-opinions]"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            unavailable(f"modelcar[second-opinions] cannot be installed: {done.stderr[-500:]}")
        stamp.write_text(wanted)
    return Scanners(python)
