"""The misbehaving upstream as a process of its own, told what to do through its folder."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.e2e.shim_proof.counters import Counted, Counters
from tests.e2e.shim_proof.faults import Fault, write_faults
from tests.e2e.shim_proof.library import Library
from tests.e2e.shim_proof.tokens import Auth, write_auth
from tests.support.waiting import eventually

__all__ = ["Upstream", "upstream"]

_ROOT: Final = Path(__file__).resolve().parents[3]


class Upstream:
    """Its library, its counters, and what it is to do wrong. `address` and `cdn` stay the same over restarts."""

    def __init__(self, folder: Path) -> None:
        self.library = Library(folder)
        self.counters = Counters(folder / "counters")
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.address, self.cdn = "127.0.0.1:0", "127.0.0.1:0"
        self.behave()

    @property
    def blob_bytes(self) -> int:
        """Bytes of blobs that left since the beginning."""
        return self.counters[Counted.BLOB_BYTES]

    def start(self) -> None:
        ready = self._folder / "ready"
        ready.unlink(missing_ok=True)
        ports = [address.rpartition(":")[2] for address in (self.address, self.cdn)]
        command = [sys.executable, "-m", "tests.e2e.shim_proof.upstream_program", str(self._folder), *ports]
        with (self._folder / "log").open("ab") as log:
            process = subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._process = process
        eventually(lambda: ready.exists() or process.poll() is not None, "the upstream starts")
        assert ready.exists(), (self._folder / "log").read_text()
        self.address, self.cdn = ready.read_text().split()

    def kill(self) -> None:
        """As kill -9 does, between any two bytes."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Its connections stand, new ones are taken, and nothing comes."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def misbehave(self, *faults: Fault) -> None:
        write_faults(self._folder, faults)

    def behave(self) -> None:
        write_faults(self._folder, [])

    def guard(self, auth: Auth) -> None:
        """From now on nothing goes without a token."""
        write_auth(self._folder, auth)

    def journal(self) -> list[dict[str, Any]]:
        """Every request so far: method, path, query, whether the CDN got it, and its headers."""
        path = self._folder / "journal"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@contextmanager
def upstream(folder: Path) -> Iterator[Upstream]:
    """A running upstream with nothing in it."""
    one = Upstream(folder)
    one.start()
    try:
        yield one
    finally:
        one.kill()
