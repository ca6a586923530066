"""All tensors of a model into numpy's memory, timed without start-up.

python -m tests.bench.programs.loading modelcar SOURCE | load_file FOLDER | safe_open FOLDER [--cold]

With `--cold` a folder's files are dropped from the page cache before.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final


def by_modelcar(source: str) -> dict[str, Any]:
    import modelcar

    return modelcar.load(source, framework="numpy")


def by_load_file(source: str) -> dict[str, Any]:
    from safetensors.numpy import load_file

    return {name: tensor for file in shards(source) for name, tensor in load_file(file).items()}


def by_safe_open(source: str) -> dict[str, Any]:
    from safetensors import safe_open

    tensors: dict[str, Any] = {}
    for path in shards(source):
        with safe_open(path, framework="numpy") as file:
            tensors |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no dictionary
    return tensors


WAYS: Final[dict[str, Callable[[str], dict[str, Any]]]] = {
    "modelcar": by_modelcar,
    "load_file": by_load_file,
    "safe_open": by_safe_open,
}


def shards(folder: str) -> list[Path]:
    return sorted(Path(folder).glob("*.safetensors"))


def forget(folder: str) -> None:
    for file in shards(folder):
        fd = os.open(file, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def main(way: str, source: str, *options: str) -> None:
    import numpy as np

    load = WAYS[way]
    __import__("modelcar.loading.load" if way == "modelcar" else "safetensors.numpy")
    if "--cold" in options:
        forget(source)
    began = time.perf_counter()
    tensors = load(source)
    ended = time.perf_counter()
    if not tensors or not all(np.any(tensor) for tensor in tensors.values()):
        raise SystemExit("there is a tensor of zeros")
    print(ended - began)


if __name__ == "__main__":
    main(*sys.argv[1:])
