"""Servers for one run each: started on a free loopback port, ended with the block."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.measure import CommandFailed
from tests.bench.workspace import Workspace

__all__ = [
    "Server",
    "docker_registry",
    "embedded_registry",
    "files_hub",
    "mirror",
    "model_hub",
    "nginx",
    "relay",
    "webhook",
]

_PATIENCE: Final = 20.0  # seconds
_REPOSITORY: Final = Path(__file__).parents[2]
_NOTHING: Final[Mapping[str, str]] = {}

_REGISTRY_CONFIG: Final = {
    "version": 0.1,
    "log": {"level": "error", "accesslog": {"disabled": True}},
    "storage": {"maintenance": {"uploadpurging": {"enabled": False}}},
}

_NGINX_CONFIG: Final = """
daemon off;
{user}
worker_processes auto;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    client_body_temp_path {folder}/tmp/1;
    proxy_temp_path {folder}/tmp/2;
    fastcgi_temp_path {folder}/tmp/3;
    uwsgi_temp_path {folder}/tmp/4;
    scgi_temp_path {folder}/tmp/5;
    server {{ listen {address}; root {root}; }}
}}
"""


@dataclass(frozen=True, slots=True)
class Server:
    """Where it listens, which process it is, and where its content lies."""

    address: str
    pid: int
    root: Path


@contextmanager
def docker_registry(folder: Path) -> Iterator[Server]:
    """Debian's docker-registry with an empty folder, its access log off."""
    root = folder / "docker-registry"
    config = folder / "docker-registry.yml"
    address = _free_address()
    storage = {**_REGISTRY_CONFIG["storage"], "filesystem": {"rootdirectory": str(root)}}  # type: ignore[dict-item]  # a mapping, as it stands above
    config.write_text(json.dumps({**_REGISTRY_CONFIG, "storage": storage, "http": {"addr": address}}))  # YAML too
    with _running(["docker-registry", "serve", config], folder, address, root) as server:
        yield server


@contextmanager
def embedded_registry(folder: Path, program: Path) -> Iterator[Server]:
    """`registry-shim serve --writable` with an empty folder."""
    root = folder / "embedded-registry"
    address = _free_address()
    command: list[str | Path] = [program, "serve", "--root", root, "--listen", address, "--writable"]
    with _running(command, folder, address, root) as server:
        yield server


@contextmanager
def mirror(folder: Path, program: Path, upstream: str) -> Iterator[Server]:
    """`registry-shim serve --upstream NAME=URL` with an empty folder."""
    root = folder / "mirror"
    address = _free_address()
    command: list[str | Path] = [program, "serve", "--root", root, "--listen", address, "--upstream", upstream]
    with _running(command, folder, address, root) as server:
        yield server


@contextmanager
def webhook(folder: Path, program: Path, config: Path) -> Iterator[Server]:
    """`modelcar admission serve` with the settings in `config`; it speaks TLS alone."""
    address, operations = _free_address(), _free_address()
    command: list[str | Path] = [program, "admission", "serve", "--config", config]
    command += ["--listen", address, "--operations-listen", operations]
    with _running(command, folder, operations, folder) as server:
        yield Server(address, server.pid, folder)


@contextmanager
def nginx(folder: Path, root: Path) -> Iterator[Server]:
    """nginx with `root` as its pages, a worker a core, sendfile on."""
    address = _free_address()
    config = folder / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(_NGINX_CONFIG.format(user=user, folder=folder, address=address, root=root))
    with _running(["nginx", "-c", config, "-p", folder], folder, address, root) as server:
        yield server


@contextmanager
def model_hub(folder: Path, model: Path) -> Iterator[Server]:
    """`programs.hub` with the model in a folder."""
    address = _free_address()
    command: list[str | Path] = [
        sys.executable,
        Path(__file__).parent / "programs" / "hub.py",
        model,
        address.rpartition(":")[2],
    ]
    with _running(command, folder, address, model) as server:
        yield server


@contextmanager
def files_hub(folder: Path, model: Path, rate: float | None = None) -> Iterator[Server]:
    """The Hub of our tests with the model in a folder as `org/name`, at most `rate` bytes a second if that is given."""
    address = _free_address()
    port = address.rpartition(":")[2]
    command: list[str | Path] = [sys.executable, "-m", "tests.support.hub", model, "--port", port]
    if rate is not None:
        command += ["--rate", str(rate)]
    with _running(command, folder, address, model, {"PYTHONPATH": str(_REPOSITORY)}) as server:
        yield server


@contextmanager
def relay(folder: Path, server: Server, rate: float) -> Iterator[Server]:
    """`server` behind a line of `rate` bytes a second in each direction."""
    address = _free_address()
    command = [
        sys.executable,
        "-m",
        "tests.bench.programs.relay",
        address.rpartition(":")[2],
        server.address,
        str(rate),
    ]
    with _running(command, folder, address, server.root, {"PYTHONPATH": str(_REPOSITORY)}) as line:
        yield line


@contextmanager
def _running(
    command: Sequence[str | Path], folder: Path, address: str, root: Path, more: Mapping[str, str] = _NOTHING
) -> Iterator[Server]:
    log = folder / f"{Path(command[0]).name}-{address.rpartition(':')[2]}.output"
    environment = {**Workspace.environment(folder), **more}
    program = shutil.which(str(command[0]), path=environment["PATH"])
    if program is None:
        raise CommandFailed(f"{command[0]} is not installed")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, *(str(c) for c in command[1:])],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_until_it_answers(process, address, log)
        yield Server(address, process.pid, root)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_it_answers(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection(address, timeout=5)
        try:
            connection.request("GET", "/v2/")
            connection.getresponse().read()
            return
        except OSError:
            time.sleep(0.02)
        finally:
            connection.close()
    raise CommandFailed(f"{log.stem} does not answer: {log.read_text()[-500:] or 'it says nothing'}")


def _free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return f"127.0.0.1:{sock.getsockname()[1]}"
