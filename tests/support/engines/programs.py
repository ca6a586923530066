"""Other people's engines, compiled from source once and kept in `.cache`.

`SPEGEL_SOURCE`, `DRAGONFLY_SOURCE` and `STARGZ_SOURCE` name checkouts for where the module proxy has not got the
modules themselves.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from tests.support.golang import build_checkout, build_module, install_go

__all__ = [
    "CONTAINERD",
    "DFDAEMON",
    "SCHEDULER",
    "SPEGEL",
    "STARGZ",
    "Unbuildable",
    "build_containerd",
    "build_dfdaemon",
    "build_scheduler",
    "build_spegel",
    "build_stargz",
]

CONTAINERD: Final = "2.2.0"
SPEGEL: Final = "0.7.4"
DFDAEMON: Final = "1.5.10"
SCHEDULER: Final = "2.5.1"
STARGZ: Final = "0.18.2"
_CONTAINERD: Final = "github.com/containerd/containerd/v2"
_CARGO: Final = Path(__file__).parents[3] / ".cache" / "cargo"


class Unbuildable(Exception):
    """A toolchain or a source is not to be had here; the text says which."""


def build_containerd() -> Path:
    """Raises Unbuildable if its source cannot be had."""
    try:
        names = {f"{_CONTAINERD}/version.Version": CONTAINERD}
        return build_module(f"{_CONTAINERD}/cmd/containerd", f"v{CONTAINERD}", names=names)
    except (OSError, subprocess.CalledProcessError) as e:
        raise Unbuildable(f"containerd {CONTAINERD}: {e}") from None


def build_spegel() -> Path:
    """Raises Unbuildable if its source cannot be had; a checkout that does not compile is a CalledProcessError."""
    return _go("Spegel", "SPEGEL_SOURCE", "spegel", "github.com/spegel-org/spegel", "", SPEGEL)


def build_scheduler() -> Path:
    """Dragonfly's. Raises as `build_spegel` does."""
    return _go("Dragonfly", "DRAGONFLY_SOURCE", "scheduler", "d7y.io/dragonfly/v2", "cmd/scheduler", SCHEDULER)


def build_stargz() -> Path:
    """stargz-snapshotter's daemon. Raises as `build_spegel` does."""
    name, module = "containerd-stargz-grpc", "github.com/containerd/stargz-snapshotter/cmd"
    if source := os.environ.get("STARGZ_SOURCE"):
        return build_checkout(Path(source, "cmd"), name, f"./{name}")
    try:
        return build_module(f"{module}/{name}", f"v{STARGZ}")
    except (OSError, subprocess.CalledProcessError) as e:
        raise Unbuildable(f"stargz-snapshotter {STARGZ}: {e}; STARGZ_SOURCE can name a checkout") from None


def _go(what: str, variable: str, name: str, module: str, package: str, version: str) -> Path:
    if source := os.environ.get(variable):
        return build_checkout(Path(source), name, f"./{package}")
    try:
        return install_go(f"{module}/{package}".rstrip("/"), f"v{version}")
    except (OSError, subprocess.CalledProcessError) as e:
        raise Unbuildable(f"{what} {version}: {e}; {variable} can name a checkout") from None


def build_dfdaemon(*, patient: bool = True) -> Path:
    """Dragonfly's daemon, whose first build takes two cores half an hour: only where `patient`.

    Raises:
        Unbuildable: cargo, protoc or libclang is missing, or crates.io cannot be reached.
    """
    program = _CARGO / f"dfdaemon-{DFDAEMON}" / "bin" / "dfdaemon"
    if program.exists():
        return program
    if not patient:
        raise Unbuildable(f"dfdaemon {DFDAEMON} is not built yet; make test-cluster does it")
    if missing := [name for name in ("cargo", "protoc", "clang") if shutil.which(name) is None]:
        raise Unbuildable(f"dfdaemon {DFDAEMON} needs {', '.join(missing)} (cargo, protobuf-compiler, libclang-dev)")
    aside = _CARGO / f"install.{os.getpid()}"
    options = ["--version", DFDAEMON, "--locked", "--bin", "dfdaemon", "--root", str(aside)]
    environment = {**os.environ, "CARGO_TARGET_DIR": str(_CARGO / "target")}
    try:
        subprocess.run(["cargo", "install", "--quiet", "dragonfly-client", *options], env=environment, check=True)
    except (OSError, subprocess.CalledProcessError) as e:
        raise Unbuildable(f"dfdaemon {DFDAEMON}: {e}") from None
    aside.rename(program.parents[1])
    return program
