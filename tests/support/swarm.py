"""Shims on machines of their own, with or without each other as peers, before one upstream. Real processes; root."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.support.links import Machine, Switch, switch

__all__ = ["Shim", "Swarm", "swarm"]

_BIN: Final = Path(sys.executable).parent
_REGISTRY: Final = "models.example"
_PATIENCE: Final = 30.0  # seconds
_PULL: Final = Path(__file__).with_name("pull.py")


@dataclass(slots=True)
class Shim:
    """`registry-shim serve` on a machine."""

    machine: Machine
    folder: Path
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()


class Swarm:
    """An upstream on a link of its own, and shims that are started and ended at will."""

    def __init__(self, folder: Path, network: Switch, mbit: int | None) -> None:
        self.folder = folder
        self.network = network
        self.mbit = mbit
        self.shims: list[Shim] = []
        self.upstream = network.machine(mbit)
        self._upstream_process: subprocess.Popen[bytes] | None = None

    def add(
        self,
        count: int,
        *,
        peers: bool = True,
        settings: Sequence[Mapping[str, Any]] = (),
    ) -> list[Shim]:
        """Start shims that are each other's peers. `settings`: of peers, one for each shim, besides the usual ones."""
        machines = [self.network.machine(self.mbit) for _ in range(count)]
        known = [f"{s.machine.address}:5443" for s in self.shims] + [f"{m.address}:5443" for m in machines]
        added = []
        for n, machine in enumerate(machines):
            usual = {"listen": f"{machine.address}:5443", "members": known, "insecure": True}
            chosen = {**usual, **(settings[n] if settings else {})} if peers else None
            added.append(self.start(machine, chosen))
        return added

    def start(self, machine: Machine, peers: Mapping[str, Any] | None) -> Shim:
        """Start one, or start it again over the same folder."""
        folder = self.folder / machine.namespace
        folder.mkdir(exist_ok=True)
        (folder / "ready").unlink(missing_ok=True)
        upstream = {"registry": _REGISTRY, "urls": [f"http://{self.upstream.address}:5000"]}
        config = {
            "root": str(folder / "root"),
            "listen": f"{machine.address}:5000",
            "insecure": True,
            "mirror": {"upstreams": [upstream]},
            **({"peers": dict(peers)} if peers else {}),
        }
        (folder / "config.yaml").write_text(json.dumps(config))  # which is YAML, too
        command = ["serve", "--config", str(folder / "config.yaml"), "--ready-file", str(folder / "ready")]
        process = self._spawn(machine, folder / "log", [str(_BIN / "registry-shim"), *command])
        shim = Shim(machine, folder, process)
        self.shims = [s for s in self.shims if s.machine != machine] + [shim]
        self._wait_for(folder / "ready", process, folder / "log")
        return shim

    def serve_upstream(self, root: Path) -> None:
        """Serve the repositories in `root`."""
        ready = self.folder / "upstream.ready"
        command = ["serve", "--root", str(root), "--listen", f"{self.upstream.address}:5000", "--insecure"]
        log = self.folder / "upstream.log"
        program = [str(_BIN / "registry-shim"), *command, "--ready-file", str(ready)]
        self._upstream_process = self._spawn(self.upstream, log, program)
        self._wait_for(ready, self._upstream_process, log)

    def pull(self, shims: Sequence[Shim], repository: str, *, verify: bool = True) -> list[float]:
        """Pull an image through each of `shims` at once, each from its own machine; returns seconds, in their order.

        Raises:
            OSError: one did not get it, or not its bytes.
        """
        clients = [self.begin_pull(shim, repository, verify=verify) for shim in shims]
        return [self.end_pull(client) for client in clients]

    def begin_pull(self, shim: Shim, repository: str, *, verify: bool = True) -> subprocess.Popen[str]:
        address, path = f"{shim.machine.address}:5000", f"{_REGISTRY}/{repository}"
        command = [*shim.machine.enter, sys.executable, str(_PULL), address, path, "verify" if verify else "count"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    @staticmethod
    def end_pull(client: subprocess.Popen[str]) -> float:
        text, _ = client.communicate(timeout=300)
        if client.returncode:
            raise OSError(text.strip()[-500:])
        return float(text.splitlines()[-1])

    def close(self) -> None:
        for process in filter(None, [*(s.process for s in self.shims), self._upstream_process]):
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait()

    def _spawn(self, machine: Machine, log: Path, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(
                [*machine.enter, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "NO_PROXY": "*"},
            )

    def _wait_for(self, ready: Path, process: subprocess.Popen[bytes], log: Path) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise OSError(f"registry-shim does not start: {log.read_text()[-500:]}")
            time.sleep(0.02)


@contextmanager
def swarm(folder: Path, root: Path, mbit: int | None) -> Iterator[Swarm]:
    """Machines with links of `mbit` each way, and an upstream that serves the repositories in `root`.

    Raises:
        OSError: this machine does not let us.
    """
    with ExitStack() as stack:
        made = Swarm(folder, stack.enter_context(switch()), mbit)
        stack.callback(made.close)
        made.serve_upstream(root)
        yield made
