"""Somebody who mounts models with the command, and what they see."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.e2e.conftest import Published
from tests.e2e.mounts.mounting import Reader
from tests.e2e.support.commands import Modelcar
from tests.e2e.support.mounts import unmount_below
from tests.e2e.support.relay import Relay

__all__ = ["SAME", "User", "same", "through"]

# MOUNT TRUTH: every file is there, nothing else is, and each byte is right.
SAME = """
import os, sys
def tree(top):
    found = {}
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, top)] = file.read()
    return found
mount, truth = tree(sys.argv[1]), tree(sys.argv[2])
assert mount.keys() == truth.keys(), (sorted(mount), sorted(truth))
for path in truth:
    assert mount[path] == truth[path], path
print("same")
"""


class User:
    """Somebody with an empty store, and a folder for mounts."""

    def __init__(self, folder: Path, front: str) -> None:
        self.folder, self.front = folder, front
        self.modelcar = Modelcar(folder / "home")
        self.modelcar.environment["COSIGN_PASSWORD"] = "secret"
        self.root = folder / "home" / "lazy"
        self.mounts = folder / "mnt"
        self.mounts.mkdir()

    def mount(self, ref: str, name: str = "llm", *more: str | Path) -> Any:
        options = ["--kernel-mount", self.front, *more]
        return self.modelcar("mount", ref, self.mounts / name, *options)

    def umount(self, name: str = "llm") -> None:
        self.modelcar("umount", self.mounts / name)

    def status(self, name: str = "llm") -> Any:
        return self.modelcar("status", self.mounts / name)

    def is_whole(self, name: str = "llm") -> bool:
        status = self.status(name)
        return bool(status["present"] == status["size"])

    @property
    def keeper(self) -> int:
        """Its process."""
        return int((self.root / "keeper.lock").read_text())

    def processes(self) -> list[str]:
        """Command lines of all that belongs to mounts of this user."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                words = path.read_bytes().split(b"\0")
                if any(str(self.folder).encode() in word for word in words) and b"modelcar" in b" ".join(words):
                    found.append(b" ".join(words).decode(errors="replace"))
        return [line for line in found if "pytest" not in line]

    def end(self) -> None:
        unmount_below(self.folder)
        with suppress(OSError, ValueError):
            os.kill(self.keeper, signal.SIGKILL)
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                if str(self.root).encode() in path.read_bytes() and int(path.parent.name) != os.getpid():
                    os.kill(int(path.parent.name), signal.SIGKILL)


def through(relay: Relay, model: Published) -> str:
    return f"{relay.address}/{model.ref.partition('/')[2]}"


def same(user: User, model: Published, name: str = "llm", within: float = 120) -> None:
    assert Reader(SAME, user.mounts / name, model.folder).result(within).strip() == "same"
