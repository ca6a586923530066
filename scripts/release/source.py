"""The source of a release: a commit, and nothing that lies beside it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from modelcar.errors import UsageError

__all__ = ["ROOT", "Source", "export", "unpack"]

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """`commit`: 40 hex digits. `epoch`: when it was committed, in seconds since 1970; the clock of the release."""

    folder: Path
    commit: str
    epoch: int
    version: str

    @property
    def environment(self) -> dict[str, str]:
        """For programs that read the clock or the machine."""
        return {**os.environ, "SOURCE_DATE_EPOCH": str(self.epoch), "PYTHONHASHSEED": "0", "LC_ALL": "C", "TZ": "UTC"}


def export(folder: Path, revision: str = "HEAD", root: Path = ROOT) -> Source:
    """Write what `revision` holds to `folder`, which must not exist. Raises `UsageError` if there is no such commit."""
    described = _git(root, "log", "-1", "--format=%H %ct", revision).decode().split()
    with tarfile.open(fileobj=BytesIO(_git(root, "archive", "--format=tar", described[0]))) as archive:
        unpack(archive, folder)
    programs = root / "modelcar/holder/bin"
    if programs.is_dir():  # the build checks them against the pinned sums, and compiles what is missing
        shutil.copytree(programs, folder / "modelcar/holder/bin")
    return Source(folder=folder, commit=described[0], epoch=int(described[1]), version=_version(folder))


def unpack(archive: tarfile.TarFile, folder: Path, how: str = "data") -> None:
    """Write a tar of our own to `folder`, filtered as `how` says where Python can: 3.11 learned it in its fourth patch,
    and Debian 12 has the second."""
    options: dict[str, Any] = {"filter": how} if hasattr(tarfile, "data_filter") else {}
    archive.extractall(folder, **options)  # noqa: S202  # nobody else has made them


def _version(folder: Path) -> str:
    text = (folder / "modelcar/__init__.py").read_text()
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if found is None:
        raise UsageError("modelcar/__init__.py does not say which version this is")
    return found[1]


def _git(root: Path, *arguments: str) -> bytes:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=False)
    if done.returncode:
        raise UsageError(f"git {arguments[0]} failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
