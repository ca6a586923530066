"""A shim as a process of its own, on one address over all its restarts."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import yaml

from tests.e2e.support.commands import BIN
from tests.support.waiting import eventually

__all__ = ["NAME", "SHIM", "Node", "node"]

NAME: Final = "registry.example"
"""What the shim knows the upstream as."""

SHIM: Final = (str(BIN / "registry-shim"),)
_ROOT: Final = Path(__file__).resolve().parents[3]
_PATIENCE: Final = 30.0  # seconds for a start or an end


class Node:
    """One shim and its folder. `log` has all that it ever said, on either output.

    Args:
        program: what takes the place of `registry-shim`.
        options: for `serve`, beside root, address and ready file.
        wrapper: a command that runs the shim, such as `unshare --mount`.
    """

    def __init__(
        self,
        folder: Path,
        options: Sequence[str],
        *,
        program: Sequence[str] = SHIM,
        root: Path | None = None,
        environment: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.root, self.log = folder, root or folder / "root", folder / "log"
        self.wrapper = wrapper
        self._command = [*program, "serve", "--root", str(self.root), *options]
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self.address = f"127.0.0.1:{_free_port()}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        self.launch()
        eventually(lambda: self._ready.exists() or self.has_ended, "the shim starts", _PATIENCE)
        assert self._ready.exists(), self.log.read_text()

    def launch(self) -> subprocess.Popen[bytes]:
        """Start it and do not wait until it answers."""
        self.root.parent.mkdir(parents=True, exist_ok=True)
        self._ready.unlink(missing_ok=True)
        command = [*self.wrapper, *self._command, "--listen", self.address, "--ready-file", str(self._ready)]
        environment = {**os.environ, **self._environment}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=environment, cwd=_ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return self._process

    @property
    def has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def kill(self) -> None:
        """As kill -9 does, between any two steps."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """As systemd does; returns the exit status."""
        return self._end(signal.SIGTERM)

    def restart(self) -> None:
        self.kill()
        self.start()

    def memory(self) -> int:
        """Proportional set size of the process now, in bytes."""
        lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) << 10

    @property
    def _ready(self) -> Path:
        return self.folder / "ready"

    def _end(self, number: signal.Signals) -> int:
        process = self._process
        if process is None:
            return 0
        process.send_signal(number)
        try:
            status = process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"the shim does not end: {self.log.read_text()[-2000:]}") from None
        self._process = None
        return status


@contextmanager
def node(
    folder: Path,
    upstream: str,
    settings: Mapping[str, object] | None = None,
    *,
    program: Sequence[str] = SHIM,
    root: Path | None = None,
) -> Iterator[Node]:
    """A running shim in front of the upstream at this address; `settings` become its configuration file."""
    options = ["--upstream", f"{NAME}=http://{upstream}"]
    if settings is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(yaml.safe_dump(dict(settings)))
        options += ["--config", str(folder / "config.yaml")]
    one = Node(folder, options, program=program, root=root)
    one.start()
    try:
        yield one
    finally:
        one.kill()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
    return port
