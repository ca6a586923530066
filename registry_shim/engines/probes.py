"""Pulling on the real path: through the engine's own configuration, by the engine or its command."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from modelcar.programs import run_program
from registry_shim.engines.cri import Cri

__all__ = ["Attempt", "CommandProbe", "CriProbe", "Probe", "command_probes", "ctr_probe"]

_SAID: Final = 2000  # characters of what a program said that are of interest, from the end


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """`pulled` or not; what was `said` about why not."""

    pulled: bool
    said: str = ""


class Probe(Protocol):
    """`owner` is the module of `engines` whose files it goes by."""

    @property
    def name(self) -> str: ...
    @property
    def owner(self) -> str: ...
    def attempt(self, image: str, *, seconds: float) -> Attempt:
        """Try to pull, and leave nothing behind. Raises WorldError if that could not even be tried."""


class CriProbe:
    """As the kubelet pulls. `owner` follows from the engine that answers at the socket."""

    def __init__(self, path: Path) -> None:
        self._cri = Cri(path)
        version = self._cri.version()
        self.name = f"{version.engine} {version.version} at {path}"
        self.owner = "containers" if version.engine == "cri-o" else "containerd"

    def attempt(self, image: str, *, seconds: float) -> Attempt:
        answer = self._cri.pull(image, seconds=seconds)
        if answer.refusal is None:
            self._cri.remove(image)
        return Attempt(pulled=answer.refusal is None, said=answer.refusal or "")


class CommandProbe:
    """A program that pulls `prefix` + image, and perhaps one that removes the image."""

    def __init__(self, owner: str, *pull: str, prefix: str = "", remove: tuple[str, ...] = ()) -> None:
        self.name = pull[0]
        self.owner = owner
        self._pull = pull
        self._prefix = prefix
        self._remove = remove

    def attempt(self, image: str, *, seconds: float) -> Attempt:
        ended = run_program(*self._pull, self._prefix + image, seconds=seconds)
        pulled = ended.status == 0
        if pulled and self._remove:
            run_program(*self._remove, image, seconds=seconds)
        return Attempt(pulled=pulled, said=" ".join(ended.errors.split())[-_SAID:])


def ctr_probe(config_path: str) -> CommandProbe:
    """containerd without its CRI, in a namespace that nobody else uses."""
    ctr = ("ctr", "--namespace", "modelcar-doctor", "images")
    return CommandProbe("containerd", *ctr, "pull", "--hosts-dir", config_path, remove=(*ctr, "remove"))


def command_probes() -> tuple[CommandProbe, ...]:
    """Those of this machine's programs that go by registries.conf."""
    known = (
        CommandProbe("containers", "podman", "pull", "--quiet", remove=("podman", "rmi")),
        CommandProbe("containers", "buildah", "pull", "--quiet", remove=("buildah", "rmi")),
        CommandProbe("containers", "skopeo", "inspect", "--no-tags", prefix="docker://"),
    )
    return tuple(probe for probe in known if shutil.which(probe.name))
