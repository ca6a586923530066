"""A network of a test's own: addresses and ports of its own, and nothing in it but loopback."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.e2e.support.commands import program, run

__all__ = ["Network", "network"]

_CLONE_NEWNET: Final = 0x40000000
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


class Network:
    """A network namespace."""

    def __init__(self, name: str) -> None:
        self.path = Path("/run/netns", name)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This thread opens its sockets there; those that are open, and other threads, stay where they are."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        there = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(there)
            yield
        finally:
            _enter(home)
            os.close(there)
            os.close(home)

    def inside(self, *command: str | Path) -> list[str]:
        """The command line that runs `command` there."""
        return ["nsenter", f"--net={self.path}", program(str(command[0])), *map(str, command[1:])]


@contextmanager
def network(name: str) -> Iterator[Network]:
    """A new one, gone with the block."""
    name = f"{name}-{os.getpid()}"
    run("ip", "netns", "add", name)
    try:
        run("ip", "-netns", name, "link", "set", "lo", "up")
        yield Network(name)
    finally:
        run("ip", "netns", "delete", name)


def _enter(descriptor: int) -> None:
    if _LIBC.setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
