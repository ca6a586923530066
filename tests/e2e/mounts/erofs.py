"""What tests of the kernel-native mount share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from modelcar.mounts.plan import MountPlan
from tests.e2e.mounts.mounting import FolderMount, folder_mount
from tests.support.skips import unavailable

__all__ = ["erofs_mount", "requires_erofs", "root_program"]

_ROOT = Path(__file__).parents[3]
_TRY = """
import sys
from pathlib import Path
from modelcar.errors import ModelcarError
from modelcar.mounts.erofs.support import try_out
try:
    try_out(Path(sys.argv[1]))
except ModelcarError as e:
    print(e)
"""


def root_program(script: str, *arguments: object, within: float = 60) -> str:
    """What a Python program with our packages printed: the test itself touches no mount."""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=_ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=within,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def requires_erofs(folder: Path) -> None:
    """Skip where the kernel, the file system of `folder` or our privileges do not do."""
    if problem := root_program(_TRY, folder).strip():
        unavailable(f"EROFS: {problem}")


def erofs_mount(
    folder: Path, plan: MountPlan, contents: Sequence[bytes | int], *, patience: float = 60, stall: float = 30
) -> AbstractContextManager[FolderMount]:
    requires_erofs(folder)
    return folder_mount(folder, plan, list(contents), front="erofs", patience=patience, stall=stall)
