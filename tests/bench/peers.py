"""Which peers are here, and `python -m tests.bench.peers`, which installs those that come from PyPI.

They go into a virtual environment of their own, one by one, so that one that cannot be installed keeps none of the
others away. The rest are Debian packages: docker-registry, skopeo, buildah, nginx.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.workspace import Workspace

__all__ = ["CACHE", "Peers", "find_peers", "install"]

CACHE: Final = Path(__file__).resolve().parents[2] / ".cache" / "bench"
PYTHON_PEERS: Final = {
    "olot": "olot>=1.2,<2",
    "oci-modelcar": "oci-modelcar>=1.3,<2",
    "oras": "oras>=0.2.30,<0.3",
    "picklescan": "picklescan>=1.0.5,<2",
}
_PROGRAMS: Final = {
    "docker-registry": ["docker-registry", "--version"],
    "skopeo": ["skopeo", "--version"],
    "buildah": ["buildah", "--version"],
    "nginx": ["nginx", "-v"],
    "openssl": ["openssl", "version"],
}
_VERSION: Final = re.compile(r"\d+(?:\.\d+)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Peers:
    """Versions of what was found, by name; `bin` has the commands of those from PyPI."""

    versions: dict[str, str]
    bin: Path

    def has(self, *names: str) -> bool:
        return all(name in self.versions for name in names)

    @property
    def missing(self) -> list[str]:
        return [name for name in (*_PROGRAMS, *PYTHON_PEERS) if name not in self.versions]


def find_peers(cache: Path = CACHE) -> Peers:
    """Look for every peer and ask it for its version."""
    bin_folder = cache / "peers" / "bin"
    versions = {name: version for name, command in _PROGRAMS.items() if (version := _ask(command))}
    for name in PYTHON_PEERS:
        code = f"from importlib.metadata import version; print(version({name!r}))"
        if version := _ask([str(bin_folder / "python"), "-c", code]):
            versions[name] = version
    return Peers(versions=versions, bin=bin_folder)


def install(cache: Path = CACHE) -> list[str]:
    """Install the Python peers that are not there yet; returns the names of those that could not be."""
    folder = cache / "peers"
    if not (folder / "bin" / "python").exists():
        venv.create(folder, with_pip=True, clear=True)
    failed = []
    for name in find_peers(cache).missing:
        if name not in PYTHON_PEERS:
            continue
        print(f"installing {name}", flush=True)
        pip: list[str | Path] = [
            folder / "bin" / "python",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        if subprocess.run([*pip, PYTHON_PEERS[name]], check=False).returncode:
            failed.append(name)
    return failed


def python_version() -> str:
    return platform.python_version()


def kernel_version() -> str:
    """The numbers only: what a distributor appends names machines."""
    found = _VERSION.match(platform.release())
    return found[0] if found else "unknown"


def _ask(command: list[str]) -> str | None:
    program = shutil.which(command[0], path=Workspace.environment(Path())["PATH"])
    if program is None:
        return None
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False)
    found = _VERSION.search(done.stdout + done.stderr)
    return found[0] if found and done.returncode == 0 else None


if __name__ == "__main__":
    for failure in install():
        print(f"{failure} could not be installed; the benchmarks will say so", file=sys.stderr)
