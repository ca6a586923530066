"""The folder that everything of a benchmark lies in, and the state of the machine that every run starts from."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["NotReady", "Workspace"]

_BLOCK: Final = 256 << 10
_ACCEPT_ALL: Final = {"default": [{"type": "insecureAcceptAnything"}]}


class NotReady(Exception):
    """The benchmark cannot start here; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """`root` holds models and peers, which are kept, and `work`, which is emptied."""

    root: Path

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def work(self) -> Path:
        return self.root / "work"

    @contextmanager
    def claimed(self, disk_needed: int) -> Iterator[None]:
        """For this process alone, with an empty `work` folder that is removed at the end.

        Raises:
            NotReady: another benchmark is running, or too little disk is free.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise NotReady("another benchmark is running here") from None
            shutil.rmtree(self.work, ignore_errors=True)
            free = shutil.disk_usage(self.root).free
            if free < disk_needed:
                raise NotReady(f"needs {disk_needed >> 20} MiB of disk at {self.root}, {free >> 20} MiB are free")
            self.work.mkdir()
            try:
                yield
            finally:
                shutil.rmtree(self.work, ignore_errors=True)

    @contextmanager
    def fresh(self) -> Iterator[Path]:
        """An empty folder for one run, with a home and a place for temporary files; removed afterwards."""
        folder = Path(tempfile.mkdtemp(dir=self.work))
        try:
            for name in ("home", "tmp", "run"):
                (folder / name).mkdir()
            _configure(folder / "home")
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @staticmethod
    def environment(folder: Path) -> dict[str, str]:
        """For commands: nothing of the caller's but PATH, so that no proxy, login or store of theirs gets in."""
        home = folder / "home"
        return {
            "PATH": os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"]),
            "LANG": "C.UTF-8",
            "HOME": str(home),
            "TMPDIR": str(folder / "tmp"),
            "XDG_RUNTIME_DIR": str(folder / "run"),
            "MODELCAR_HOME": str(home / "modelcar"),
            "DOCKER_CONFIG": str(home / "docker"),
        }

    @staticmethod
    def settle(files: Sequence[Path]) -> None:
        """Write out what is dirty and read `files` into the page cache: the same start for every run."""
        os.sync()
        buffer = memoryview(bytearray(_BLOCK))
        for file in files:
            with file.open("rb", buffering=0) as f:
                while f.readinto(buffer):
                    pass


def _configure(home: Path) -> None:
    """The least that skopeo and buildah want to find."""
    for name, content in {".config/containers/policy.json": _ACCEPT_ALL, "docker/config.json": {}}.items():
        path = home / name
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(content))
