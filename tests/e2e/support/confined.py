"""Programs as a service manager runs them: as a user without privileges, who sees no other's processes, and may write
to one folder."""

from __future__ import annotations

import os
import site
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.skips import unavailable

__all__ = ["NOBODY", "Python", "confined", "plain_python"]

NOBODY: Final = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs")
_USER: Final = 65534
_ROOT: Final = Path(__file__).parents[3]

# FOLDER COMMAND: `ProtectSystem=strict`, `ProtectProc=invisible` and a state directory.
_INSIDE: Final = """
mount --bind "$0" "$0"
mount -o remount,bind,ro /
mount -t proc -o hidepid=invisible proc /proc
exec "$@"
"""


@dataclass(frozen=True, kw_only=True)
class Python:
    """An interpreter that everybody may run, and what it needs to find a project."""

    path: str
    environment: dict[str, str]


def plain_python(module: str) -> Python:
    """One that imports a module of ours."""
    found = os.pathsep.join([str(_ROOT), *site.getsitepackages()])
    for python, path in (("/usr/bin/python3", found), (sys.executable, str(_ROOT))):
        check = [*NOBODY, python, "-c", f"import sys, {module}; assert sys.version_info >= (3, 11)"]
        environment = {"PYTHONPATH": path}
        if subprocess.run(check, env={**os.environ, **environment}, capture_output=True, cwd="/").returncode == 0:
            return Python(path=python, environment=environment)
    return unavailable("no Python here that another user can run this project with")


def confined(folder: Path, *command: str | Path) -> Sequence[str | Path]:
    """The command that runs another so; `folder`, and what is in it, belongs to the user from now on."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, _USER, _USER)
    return ("unshare", "--mount", "--propagation", "private", "sh", "-ec", _INSIDE, folder, *NOBODY, *command)
