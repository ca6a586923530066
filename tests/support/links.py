"""Machines that are network namespaces, on one switch, each by a link with a rate of its own. Needs root.

Nothing of it is in the machine's own network: the switch has a namespace too.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

__all__ = ["Machine", "Switch", "switch"]

_PREFIX: Final = "mcl"
_NETWORK: Final = "10.77.0"
_QUEUE: Final = "50ms"
_BURST: Final = "256kb"


@dataclass(frozen=True, slots=True)
class Machine:
    """A namespace with one address; `enter` before a command runs it there."""

    namespace: str
    address: str
    port: str
    """Its link's end at the switch."""

    @property
    def enter(self) -> list[str]:
        return [_program("ip"), "netns", "exec", self.namespace]


@dataclass(slots=True)
class Switch:
    namespace: str
    machines: list[Machine] = field(default_factory=list)

    def machine(self, mbit: int | None) -> Machine:
        """One more, whose link takes `mbit` million bits a second in each direction."""
        n = len(self.machines) + 1
        machine = Machine(f"{self.namespace}-{n}", f"{_NETWORK}.{n}", f"port{n}")
        self.machines.append(machine)
        _ip("netns", "add", machine.namespace)
        pair = ("type", "veth", "peer", "name", "eth0", "netns", machine.namespace)
        _ip("-n", self.namespace, "link", "add", machine.port, *pair)
        _ip("-n", self.namespace, "link", "set", machine.port, "master", "switch", "up")
        _ip("-n", machine.namespace, "address", "add", f"{machine.address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", machine.namespace, "link", "set", device, "up")
        self.shape(machine, mbit)
        return machine

    def shape(self, machine: Machine, mbit: int | None) -> None:
        """Change the rate of its link, both ways; `None` is as fast as it goes."""
        for namespace, device in ((machine.namespace, "eth0"), (self.namespace, machine.port)):
            where = ("-n", namespace, "qdisc")
            _run("tc", *where, "delete", "dev", device, "root", check=False)
            if mbit is not None:
                limits = ("rate", f"{mbit}mbit", "burst", _BURST, "latency", _QUEUE)
                _run("tc", *where, "add", "dev", device, "root", "tbf", *limits)

    def unplug(self, machine: Machine) -> None:
        """The machine is there and nothing reaches it any more."""
        _ip("-n", self.namespace, "link", "set", machine.port, "down")

    def sent(self, machine: Machine) -> int:
        """Bytes that the machine has put on its link, all headers included."""
        text = _ip("-n", self.namespace, "-s", "-j", "link", "show", machine.port)
        return int(json.loads(text)[0]["stats64"]["rx"]["bytes"])


@contextmanager
def switch() -> Iterator[Switch]:
    """Gone after the block, whatever happens in it. What a killed process left behind is removed, too."""
    _remove_of_the_dead()
    name = f"{_PREFIX}{os.getpid()}"
    made = Switch(name)
    try:
        _ip("netns", "add", name)
        _ip("-n", name, "link", "add", "switch", "type", "bridge")
        _ip("-n", name, "link", "set", "switch", "up")
        yield made
    finally:
        _remove(name)


def _remove_of_the_dead() -> None:
    for name in _namespaces():
        pid = name.removeprefix(_PREFIX).partition("-")[0]
        if name.startswith(_PREFIX) and pid.isdigit() and not Path("/proc", pid).exists():
            _ip("netns", "delete", name, check=False)


def _remove(switch: str) -> None:
    for name in _namespaces():
        if name == switch or name.startswith(f"{switch}-"):
            _ip("netns", "delete", name, check=False)


def _namespaces() -> list[str]:
    return [line.split()[0] for line in _ip("netns", "list").splitlines() if line.strip()]


def _ip(*arguments: str, check: bool = True) -> str:
    return _run("ip", *arguments, check=check)


def _run(name: str, *arguments: str, check: bool = True) -> str:
    done = subprocess.run([_program(name), *arguments], capture_output=True, text=True)
    if check and done.returncode:
        raise OSError(f"{name} {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def _program(name: str) -> str:
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])) or name
