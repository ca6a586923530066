"""The registry in another process, and the handle that a test has of it."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import quote

from modelcar.errors import StorageError
from modelcar.testing.registry.counters import Counts, Seen
from modelcar.testing.registry.faults import Fault, Faults
from modelcar.testing.registry.profiles import PROFILES, Profile

__all__ = ["MisbehavingRegistry", "running"]

_PATIENCE: Final = 60.0  # seconds


@contextmanager
def running(
    profile: str | Profile = "distribution",
    *,
    folder: Path | None = None,
    rate: float | None = None,
    random: Faults | None = None,
) -> Iterator[MisbehavingRegistry]:
    """A registry of that dialect, in a process that ends with the block, or with this one.

    >>> with running("ghcr") as registry:
    ...     registry.put_blob(b"weights")[:14]
    'sha256:9acd250'

    Args:
        folder: what it holds, kept afterwards; else a temporary one.
        rate: bytes a second in each direction, of all requests together.
        random: faults from the start on; see `MisbehavingRegistry.misbehave_at_random`.
    """
    dialect = PROFILES[profile] if isinstance(profile, str) else profile
    with TemporaryDirectory(prefix="misbehaving-") as temporary:
        registry = MisbehavingRegistry(dialect, folder or Path(temporary), rate)
        registry.restart()
        try:
            if random is not None:
                registry.misbehave_at_random(random)
            yield registry
        finally:
            registry.kill()


class MisbehavingRegistry:
    """One registry; made by `running`. Its addresses stay the same over `restart`.

    Attributes:
        address: `127.0.0.1:PORT`, the beginning of a reference.
        elsewhere: the other host, where tokens come from and redirects lead to.
    """

    def __init__(self, profile: Profile, folder: Path, rate: float | None = None) -> None:
        self.profile = profile
        self.address = self.elsewhere = self._control = "127.0.0.1:0"
        self._folder, self._rate = folder, rate
        self._process: subprocess.Popen[str] | None = None

    def misbehave(self, *faults: Fault) -> None:
        """Faults for the next requests that they fit."""
        self._ask("POST", "/faults", [fault.to_dict() for fault in faults])

    def misbehave_at_random(self, faults: Faults) -> None:
        """Faults scattered over the bytes that move from now on, the same ones for the same seed and requests."""
        self._ask("POST", "/random", faults.to_dict())

    def behave(self) -> None:
        """No more faults; what the profile refuses it goes on to refuse."""
        self._ask("POST", "/behave")

    def counts(self) -> Counts:
        return Counts.from_dict(self._ask("GET", "/counts"))

    def moved(self) -> int:
        """Bytes of blobs, in both directions, until this moment: also those of requests that go on."""
        return int(self._ask("GET", "/moved"))

    def journal(self) -> list[Seen]:
        """Every request so far, in the order in which they ended."""
        return [Seen.from_dict(entry) for entry in self._ask("GET", "/journal")]

    def reset_counts(self) -> None:
        """Counts and journal begin anew."""
        self._ask("POST", "/reset")

    def digests(self) -> set[str]:
        """What blobs it holds, whatever the repository."""
        return set(self._ask("GET", "/blobs"))

    def blob(self, digest: str) -> bytes:
        return self._raw("GET", f"/blobs/{quote(digest)}", b"")

    def put_blob(self, content: bytes, repository: str = "org/model") -> str:
        """A blob that is there without having moved; returns its digest."""
        return str(json.loads(self._raw("PUT", f"/blobs/{quote(repository, safe='')}", content)))

    def forget_sessions(self) -> None:
        """All upload sessions are lost."""
        self._ask("POST", "/forget-sessions")

    def revoke_tokens(self) -> None:
        """No token that was given out is good any more."""
        self._ask("POST", "/revoke-tokens")

    def kill(self) -> None:
        """As kill -9 does, between any two bytes."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def freeze(self) -> None:
        """Its connections stay, and nothing answers any more, until `kill` or `restart`."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def restart(self) -> None:
        """Go on, or begin, with what it holds: without upload sessions, faults and counts."""
        self.kill()
        ports = [address.rpartition(":")[2] for address in (self.address, self.elsewhere, self._control)]
        command = [sys.executable, "-m", "modelcar.testing.registry", "--folder", str(self._folder), "--ports", *ports]
        command += ["--profile", json.dumps(self.profile.to_dict())]
        command += ["--rate", str(self._rate)] if self._rate is not None else []
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = subprocess.Popen(command, text=True, **pipes)
        assert self._process.stdout is not None  # noqa: S101  # it is a pipe
        line = self._process.stdout.readline()
        if not line:
            raise StorageError("the misbehaving registry does not start")
        found = json.loads(line)
        self.address, self.elsewhere, self._control = found["registry"], found["elsewhere"], found["control"]

    def _ask(self, method: str, path: str, document: object = None) -> Any:
        return json.loads(self._raw(method, path, json.dumps(document).encode() if method != "GET" else b""))

    def _raw(self, method: str, path: str, body: bytes) -> bytes:
        connection = http.client.HTTPConnection(self._control, timeout=_PATIENCE)
        try:
            connection.request(method, path, body)
            return connection.getresponse().read()
        finally:
            connection.close()
