"""All tensors of a model onto the first CUDA device, timed without the start of Python, torch and the device.

python -m tests.bench.programs.gpu WAY SOURCE [--mount REF FRONT] [--cold FOLDER…]

WAY is `modelcar` or `load_file`. With `--mount` SOURCE is where REF is mounted first, which counts. With `--cold` all
files below these folders are dropped from the page cache before.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.bench.programs.loading import shards
from tests.bench.programs.mapped import mount

DEVICE: Final = "cuda:0"


def by_modelcar(source: str) -> dict[str, Any]:
    import modelcar

    return modelcar.load(source, device=DEVICE)


def by_load_file(source: str) -> dict[str, Any]:
    from safetensors.torch import load_file

    return {name: tensor for file in shards(source) for name, tensor in load_file(file, device=DEVICE).items()}


WAYS: Final[dict[str, Callable[[str], dict[str, Any]]]] = {"modelcar": by_modelcar, "load_file": by_load_file}


def forget(folder: str) -> None:
    """What is not written out yet stays, so that is done first."""
    os.sync()
    for path in Path(folder).rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("way", choices=list(WAYS))
    parser.add_argument("source")
    parser.add_argument("--mount", nargs=2, metavar=("REF", "FRONT"))
    parser.add_argument("--cold", action="append", default=[], metavar="FOLDER")
    options = parser.parse_args()

    import torch

    import modelcar.loading.load  # noqa: F401  # so that importing it is not timed

    load = WAYS[options.way]
    torch.empty(1 << 20, device=DEVICE).copy_(torch.empty(1 << 20, pin_memory=True))
    torch.cuda.synchronize()
    for folder in options.cold:
        forget(folder)
    began = time.perf_counter()
    if options.mount is not None:
        ref, front = options.mount
        mount(ref, options.source, front)
    tensors = load(options.source)
    torch.cuda.synchronize()
    ended = time.perf_counter()
    if not tensors or not all(bool(torch.any(tensor.view(torch.uint8))) for tensor in tensors.values()):
        raise SystemExit("there is a tensor of zeros")
    print(ended - began)


if __name__ == "__main__":
    main()
