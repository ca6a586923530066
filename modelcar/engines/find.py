"""Which engine is meant: the one that was named, or the first that is here."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from modelcar.engines.api import ApiEngine
from modelcar.engines.engine import Engine
from modelcar.engines.podman import PodmanCommand
from modelcar.errors import NotFound

__all__ = ["EngineChoice", "docker_socket", "open_engine", "podman_sockets"]

EngineChoice = Literal["auto", "docker", "podman"]
_DOCKER: Final = Path("/var/run/docker.sock")
_PODMAN: Final = Path("/run/podman/podman.sock")


@contextmanager
def open_engine(choice: EngineChoice, environment: Mapping[str, str] = os.environ) -> Iterator[Engine]:
    """The engine that `choice` means. `auto` is Docker where it is told of or has a socket, else podman.

    Raises:
        NotFound: there is none.
        UsageError: a library for it is not installed.
        WorldError: it does not answer.
    """
    if choice == "docker" or (choice == "auto" and _docker_is_meant(environment)):
        with ApiEngine("docker") as engine:
            yield engine
        return
    address = environment.get("CONTAINER_HOST") or None
    if address is None and shutil.which("podman") is None:
        socket = next((path for path in podman_sockets(environment) if is_socket(path)), None)
        if socket is None and choice == "auto":
            raise NotFound(
                "there is neither docker nor podman here", hint="`modelcar push` sends the image to a registry instead"
            )
        address = f"unix://{socket}" if socket is not None else None
    if address is not None:
        with ApiEngine("podman", address) as engine:
            yield engine
    else:
        yield PodmanCommand()


def docker_socket(environment: Mapping[str, str] = os.environ) -> str:
    """Where the docker command would go if no context says otherwise."""
    return environment.get("DOCKER_HOST") or f"unix://{_DOCKER}"


def podman_sockets(environment: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """Where podman's service listens if it runs: the user's own, and the system's."""
    runtime = environment.get("XDG_RUNTIME_DIR")
    return (*((Path(runtime, "podman/podman.sock"),) if runtime else ()), _PODMAN)


def is_socket(path: Path) -> bool:
    """Whether a socket is there, as far as we may look."""
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return False


def _docker_is_meant(environment: Mapping[str, str]) -> bool:
    told = environment.get("DOCKER_HOST") or environment.get("DOCKER_CONTEXT")
    return bool(told) or is_socket(_DOCKER)
