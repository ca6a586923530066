"""Builds the holder, the one program in a model image, from C: hatchling's build hook and a small command.

    python hatch_build.py             make the programs that are missing or not as pinned
    python hatch_build.py --check     compile afresh into a temporary folder and compare, changing nothing
    python hatch_build.py --update    compile, install, and pin the new sums (a change of the source or the compiler)

Image digests depend on these bytes, so `modelcar/holder/SHA256SUMS` pins them and a build that yields others fails.
The compiler is zig, an ordinary build dependency that carries musl and both targets; its version is pinned in
pyproject.toml.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent
TARGETS = {"amd64": "x86_64-linux-musl", "arm64": "aarch64-linux-musl"}
FLAGS = [
    *("-std=c11", "-Os", "-static", "-fno-pie", "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections"),
    *("-g0", "-s", "-Wl,--build-id=none", "-fno-sanitize=all", "-Wall", "-Wextra", "-Werror"),
]
# What would let the builder's environment into the program, or move zig's caches.
FOREIGN = re.compile(r"ZIG_.*|CPATH|.*_INCLUDE_PATH|LIBRARY_PATH|CCC_OVERRIDE_OPTIONS|NIX_.*")


class HolderError(Exception):
    """One line for whoever runs the build."""


def pinned_zig(root: Path = ROOT) -> str:
    """The requirement of pyproject.toml, `ziglang==…`."""
    requires = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["build-system"]["requires"]
    return str(next(line for line in requires if line.startswith("ziglang")))


def pinned_sums(root: Path = ROOT) -> dict[str, str]:
    """`SHA256SUMS` by architecture; nothing is pinned where it lacks a line."""
    try:
        lines = (root / "modelcar/holder/SHA256SUMS").read_text("ascii").splitlines()
    except FileNotFoundError:
        return {}
    return {name.removeprefix("bin/holder-"): digest for digest, name in (line.split() for line in lines)}


def compile_holder(architecture: str, output: Path, *, cache: Path, root: Path = ROOT) -> None:
    """Compile the sources into `output`. Sources are named relative to their folder so that no path gets in."""
    if importlib.util.find_spec("ziglang") is None:
        raise HolderError(f"the compiler is missing: pip install {pinned_zig(root)}")
    source = root / "modelcar/holder/src"
    environment = {name: value for name, value in os.environ.items() if not FOREIGN.fullmatch(name)}
    environment |= {"ZIG_GLOBAL_CACHE_DIR": str(cache / "global"), "ZIG_LOCAL_CACHE_DIR": str(cache / "local")}
    environment |= {"ZIG_LIB_DIR": str(_library(cache, pinned_zig(root)))}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "ziglang", "cc", "-target", TARGETS[architecture], *FLAGS),
            *("-o", str(output), *sorted(file.name for file in source.glob("*.c"))),
        ],
        cwd=source,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        raise HolderError(f"the compiler failed for {architecture}:\n{done.stdout.strip()}")
    output.chmod(0o755)


def _library(cache: Path, version: str) -> Path:
    """Zig's own sources by one path, wherever pip has put them, so that the musl compiled by one build serves the next.

    Caches go by path, and pip builds in an environment that it makes anew each time.
    """
    found = importlib.util.find_spec("ziglang")
    folders = list(found.submodule_search_locations or ()) if found else []
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".new-") as temporary:
        link = Path(temporary) / "lib"
        link.symlink_to(Path(folders[0]).resolve() / "lib")
        return link.replace(cache / version.replace("==", "-"))


@contextmanager
def cache_folder(root: Path = ROOT) -> Iterator[Path]:
    """Zig's caches: `.zig-cache` in the project where we may write there, else a temporary folder. Never HOME."""
    local = root / ".zig-cache"
    try:
        local.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=local):
            pass
    except OSError:
        with tempfile.TemporaryDirectory(prefix="modelcar-zig-") as folder:
            yield Path(folder)
    else:
        yield local


def sum_of(file: Path) -> str | None:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except FileNotFoundError:
        return None


def build(root: Path = ROOT, *, update: bool = False) -> dict[str, str]:
    """Make `modelcar/holder/bin/holder-*` where missing or different; returns the sums. `update` pins what results."""
    folder = root / "modelcar/holder/bin"
    sums = {} if update else pinned_sums(root)
    wanted = [arch for arch in TARGETS if arch not in sums or sum_of(folder / f"holder-{arch}") != sums[arch]]
    if not wanted:
        return sums
    folder.mkdir(exist_ok=True)
    with cache_folder(root) as cache, tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as temporary:
        made = {arch: Path(temporary) / f"holder-{arch}" for arch in wanted}
        for arch, file in made.items():
            compile_holder(arch, file, cache=cache, root=root)
            if not update:
                require_pinned(arch, sum_of(file), sums, root)
        for file in made.values():
            file.replace(folder / file.name)
    if update:
        sums = {arch: str(sum_of(folder / f"holder-{arch}")) for arch in TARGETS}
        text = "".join(f"{digest}  bin/holder-{arch}\n" for arch, digest in sums.items())
        (root / "modelcar/holder/SHA256SUMS").write_text(text, "ascii")
    return sums


def check(root: Path = ROOT) -> dict[str, str]:
    """Compile everything from source into a temporary folder and compare with the pinned sums."""
    sums = pinned_sums(root)
    with cache_folder(root) as cache, tempfile.TemporaryDirectory(prefix="modelcar-holder-") as temporary:
        for arch in TARGETS:
            file = Path(temporary) / f"holder-{arch}"
            compile_holder(arch, file, cache=cache, root=root)
            require_pinned(arch, sum_of(file), sums, root)
    return sums


def require_pinned(architecture: str, digest: str | None, sums: dict[str, str], root: Path) -> None:
    if digest != sums.get(architecture):
        raise HolderError(
            f"holder-{architecture} came out as sha256 {digest}, and modelcar/holder/SHA256SUMS pins"
            f" {sums.get(architecture)}: build with {pinned_zig(root)}, or, if the source was changed on purpose,"
            " run `python hatch_build.py --update`"
        )


def get_build_hook() -> type[Any]:
    """Found by hatchling; imported here so that the command above works without it."""
    from hatchling.builders.hooks.plugin.interface import (  # type: ignore[import-not-found,unused-ignore]  # only in a build is it there
        BuildHookInterface,
    )

    class HolderBuildHook(BuildHookInterface):  # type: ignore[misc,type-arg,unused-ignore]  # likewise
        PLUGIN_NAME = "custom"

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            del version, build_data  # wheels, editable installs and sdists all carry the programs
            try:
                build(Path(self.root))
            except (HolderError, OSError) as error:
                raise SystemExit(f"modelcar: {error}") from error

    return HolderBuildHook


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Build the holder, the one program in a model image.")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--check", action="store_true", help="compile afresh and compare, changing nothing")
    group.add_argument("--update", action="store_true", help="compile, install and pin the new sums")
    options = parser.parse_args(arguments)
    try:
        sums = check() if options.check else build(update=options.update)
    except (HolderError, OSError) as error:
        sys.stderr.write(f"hatch_build.py: {error}\n")
        return 1
    sys.stdout.writelines(f"{digest}  holder-{arch}\n" for arch, digest in sums.items())
    return 0


if __name__ == "__main__":
    sys.exit(main())
