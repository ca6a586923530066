"""Which container engines are here, and whether they answer."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from modelcar.doctor.finding import Finding, note, ok
from modelcar.engines.api import ApiEngine
from modelcar.engines.find import docker_socket
from modelcar.engines.podman import PodmanCommand
from modelcar.errors import ModelcarError, NotFound, UsageError, WorldError
from modelcar.programs import run_program

__all__ = ["look_at_engines"]

_CONTAINERD: Final = Path("/run/containerd/containerd.sock")
_SECONDS: Final = 10


def look_at_engines() -> Iterator[Finding]:
    """docker, podman, containerd and skopeo. None of them is needed to build or push."""
    yield _docker()
    yield _podman()
    yield _containerd()
    yield _version("skopeo")


def _docker() -> Finding:
    if shutil.which("docker") is None and not _is_there(docker_socket()):
        return note("docker", "not here")
    try:
        with ApiEngine("docker") as engine:
            return ok("docker", f"{engine.name} answers at {docker_socket()}")
    except UsageError as e:
        return note("docker", str(e), e.hint)
    except ModelcarError as e:
        denied = "Permission denied" in str(e)
        return note("docker", str(e), "you are not in the group `docker`" if denied else f"looked at {docker_socket()}")


def _podman() -> Finding:
    try:
        engine = PodmanCommand()
    except NotFound:
        return note("podman", "not here")
    except ModelcarError as e:
        return note("podman", str(e), e.hint)
    return ok("podman", f"{engine.name}, its command")


def _containerd() -> Finding:
    found = _version("containerd")
    if not _CONTAINERD.exists():
        return found if found.message == "not here" else note("containerd", f"{found.message}; it does not run")
    if not os.access(_CONTAINERD, os.R_OK | os.W_OK):
        return note("containerd", f"{_CONTAINERD}: only root may ask it")
    return ok("containerd", f"{found.message}, at {_CONTAINERD}")


def _version(program: str) -> Finding:
    """What a program says of itself, in one line."""
    if shutil.which(program) is None:
        return note(program, "not here")
    try:
        ended = run_program(program, "--version", seconds=_SECONDS)
    except WorldError:
        ended = None
    if ended is None or ended.status:
        return note(program, "is installed, and does not run")
    lines = ended.output.splitlines()
    return ok(program, lines[0] if lines else "is installed")


def _is_there(address: str) -> bool:
    return not address.startswith("unix://") or Path(address.removeprefix("unix://")).exists()
