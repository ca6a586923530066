"""The other scanners, each in a virtual environment of its own: what they need of NumPy contradicts."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

__all__ = ["CACHE", "PEERS", "install", "program", "version_of"]

CACHE: Final = Path(__file__).resolve().parents[3] / ".cache" / "scanners"

PEERS: Final = {
    "picklescan": ("picklescan==1.0.5",),
    # With everything it can scan; it calls functions that NumPy 2.3 has no more.
    "modelscan": ("modelscan[h5py,tensorflow]==0.8.8", "numpy<2.3"),
    # It imports typing_extensions and does not say so.
    "fickling": ("fickling==0.1.12", "typing_extensions"),
}


def program(peer: str, name: str) -> str:
    """The path of a peer's command, or of its interpreter."""
    return str(CACHE / peer / "bin" / name)


def version_of(peer: str) -> str | None:
    """The version that is installed, if one is."""
    code = f"from importlib.metadata import version; print(version({peer!r}))"
    try:
        done = subprocess.run([program(peer, "python"), "-c", code], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() or None


def install() -> list[str]:
    """Install what is not there yet; returns the names of those that could not be."""
    failed = []
    for peer, requirements in PEERS.items():
        wanted = requirements[0].partition("==")[2]
        if version_of(peer) == wanted:
            continue
        print(f"installing {' '.join(requirements)}", file=sys.stderr, flush=True)
        venv.create(CACHE / peer, with_pip=True, clear=True)
        pip = [program(peer, "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        if subprocess.run([*pip, *requirements], check=False).returncode:
            failed.append(peer)
    return failed
