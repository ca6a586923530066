"""Images of model servers: a shell under any USER, and this machine's Python with what loads weights."""

from __future__ import annotations

import fnmatch
import os
import shutil
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from tests.e2e.support.bases import HERE, write_base
from tests.e2e.support.commands import run
from tests.e2e.support.linked import shared_libraries

__all__ = ["PASSWD", "publish_server", "python_files"]

PASSWD = b"root:x:0:0:root:/:/bin/sh\nvllm:x:2000:2001::/:/bin/sh\n"
_LEFT_OUT = ("test", "tests", "idlelib", "tkinter", "ensurepip", "lib2to3", "turtledemo", "pydoc_data", "site-packages",
             "dist-packages", "config-*", "__pycache__", "*.a", "*.h", "_tkinter.*", "_curses*", "readline.*", "nis.*",
             "_sqlite3.*", "_dbm.*", "_gdbm.*", "_ssl.*")  # fmt: skip

SERVER = """
import hashlib, json, mmap, os, sys
from safetensors import safe_open

path, control = sys.argv[1], sys.argv[2]
file = open(path, "rb", buffering=0)
mapping = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
tensors = safe_open(path, framework="numpy")
(name,) = tensors.keys()


def digest(data):
    return hashlib.sha256(data).hexdigest()


DOES = {
    "who": lambda: [os.getuid(), os.getgid()],
    "file": lambda: list(os.fstat(file.fileno())[1:3]),
    "link": lambda: os.readlink(os.path.join(os.path.dirname(path), ".modelcar")),
    "half": lambda: digest(mapping[: len(mapping) // 2]),
    "mapping": lambda: digest(mapping),
    "read": lambda: digest(os.pread(file.fileno(), len(mapping), 0)),
    "tensor": lambda: digest(tensors.get_tensor(name).tobytes()),
    "open": lambda: digest(open(path, "rb").read()),
    "load": lambda: digest(safe_open(path, framework="numpy").get_tensor(name).tobytes()),
}
with open(control + "/answers", "w") as answers, open(control + "/questions") as questions:
    for question in questions:
        try:
            answer = DOES[question.strip()]()
        except OSError as e:
            answer = type(e).__name__
        print(json.dumps(answer), file=answers, flush=True)
"""


def publish_server(
    folder: Path,
    ref: str,
    *,
    user: str = "",
    passwd: bytes | None = PASSWD,
    files: dict[str, bytes] | None = None,
    modes: Mapping[str, int] | None = None,
    env: tuple[str, ...] = (),
    command: tuple[str, ...] = ("sh",),
) -> str:
    """An image for this machine with busybox and `files`, pushed as `ref`."""
    content = {**({"etc/passwd": passwd} if passwd is not None else {}), **(files or {})}

    def edit(config: dict[str, dict[str, object]]) -> None:
        config["config"].update(User=user, Cmd=list(command), Env=["PATH=/bin", *env])

    shutil.rmtree(folder, ignore_errors=True)
    write_base(folder, HERE, edit=edit, files=content, modes=modes)
    run("skopeo", "copy", "--dest-tls-verify=false", f"oci:{folder}:latest", f"docker://{ref}")
    return ref


def python_files() -> tuple[dict[str, bytes], tuple[str, ...]]:
    """What Python, numpy and safetensors need, as files of an image, and the variables that lead there."""
    home = "opt/python"
    library = f"{home}/lib/python{sys.version_info.major}.{sys.version_info.minor}"
    program = Path(os.path.realpath(sys.executable))
    files = {f"{home}/bin/python3": program.read_bytes(), "opt/server.py": SERVER.encode()}
    files |= dict(_tree(Path(sysconfig.get_path("stdlib")), library))
    packages = Path(np.__file__).parents[1]
    for name in ("numpy", "numpy.libs", "safetensors"):
        files |= dict(_tree(packages / name, f"opt/packages/{name}"))
    folders = (Path(sysconfig.get_path("stdlib")), packages / "numpy", packages / "safetensors")
    for needed in shared_libraries([program, *(binary for folder in folders for binary in _binaries(folder))]):
        name = str(needed).lstrip("/") if needed.name.startswith("ld-linux") else f"opt/lib/{needed.name}"
        files[name] = needed.read_bytes()
    # Debian's own Python knows no site-packages, so the packages have a path of their own.
    places = ("PYTHONHOME=/opt/python", "PYTHONPATH=/opt/packages", "LD_LIBRARY_PATH=/opt/lib")
    return files, (*places, "PYTHONDONTWRITEBYTECODE=1")


def _tree(folder: Path, target: str) -> Iterator[tuple[str, bytes]]:
    for path in _files(folder):
        yield f"{target}/{path.relative_to(folder)}", path.read_bytes()


def _files(folder: Path) -> Iterator[Path]:
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not _is_left_out(name)]
        yield from (Path(where, name) for name in names if not _is_left_out(name))


def _is_left_out(name: str) -> bool:
    return any(fnmatch.fnmatch(name, left) for left in _LEFT_OUT)


def _binaries(folder: Path) -> Iterator[Path]:
    return (path for path in _files(folder) if path.suffix == ".so")
