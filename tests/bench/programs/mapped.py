"""Reading a model through mappings, as safetensors does, timed from the command that mounts it.

python -m tests.bench.programs.mapped first REF DIR FRONT FILE OFFSET SIZE      mount, and the bytes of one tensor
python -m tests.bench.programs.mapped all REF DIR FRONT                         mount, and all weights in order
python -m tests.bench.programs.mapped again DIR                                 all weights, the second time
python -m tests.bench.programs.mapped dropped DIR BLOBS                         the same, with only the blobs in memory
"""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

_STEP = 1 << 20


def mount(ref: str, folder: str, front: str) -> None:
    program = Path(sys.executable).with_name("modelcar")
    command = [str(program), "mount", ref, folder, "--kernel-mount", front, "--plain-http", "--quiet"]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def read(path: Path, start: int = 0, size: int | None = None) -> None:
    """Copy a range of a file out of a mapping of it."""
    target = memoryview(bytearray(_STEP))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ) as mapped:
        stop = len(mapped) if size is None else start + size
        with memoryview(mapped) as view:
            for offset in range(start, stop, _STEP):
                n = min(_STEP, stop - offset)
                target[:n] = view[offset : offset + n]


def read_all(folder: str) -> None:
    for path in sorted(Path(folder).glob("*.safetensors")):
        read(path)


def forget(folder: str) -> None:
    for path in Path(folder).glob("*.safetensors"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def remember(folder: str) -> None:
    """All files of a folder into the page cache."""
    buffer = memoryview(bytearray(_STEP))
    for path in Path(folder).rglob("*"):
        if path.is_file():
            with path.open("rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass


def first(ref: str, folder: str, front: str, file: str, offset: str, size: str) -> float:
    def do() -> None:
        mount(ref, folder, front)
        read(Path(folder, file), int(offset), int(size))

    return _timed(do)


def everything(ref: str, folder: str, front: str) -> float:
    def do() -> None:
        mount(ref, folder, front)
        read_all(folder)

    return _timed(do)


def again(folder: str) -> float:
    read_all(folder)
    return _timed(lambda: read_all(folder))


def dropped(folder: str, blobs: str) -> float:
    forget(folder)
    remember(blobs)
    return _timed(lambda: read_all(folder))


def _timed(do: Callable[[], None]) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


if __name__ == "__main__":
    ways: dict[str, Callable[..., float]] = {"first": first, "all": everything, "again": again, "dropped": dropped}
    print(ways[sys.argv[1]](*sys.argv[2:]))
