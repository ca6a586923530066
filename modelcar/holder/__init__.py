"""The holder: the tiny static program that a model image carries, and what others need to know about it.

It publishes the image's model folder to other containers of a pod and stays; `docs/formats/holder.md` is its contract.
The programs are compiled from `src/` when the package is built (`hatch_build.py`); `SHA256SUMS` pins their bytes,
because the digests of images depend on them.

>>> image_file = {HOLDER_PATH: holder_bytes("arm64")}
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Final, Literal, get_args

from modelcar.errors import StorageError

Architecture = Literal["amd64", "arm64"]
ARCHITECTURES: Final[tuple[Architecture, ...]] = get_args(Architecture)

HOLDER_PATH: Final = "/.modelcar/holder"
"""Where it lies in an image, mode 0755: a program that its user may run but not read hides its /proc/PID/root."""

MODEL_PATH: Final = "/models"
"""What it publishes unless `--model` says otherwise."""

INDIRECTION: Final = ".modelcar"
"""The one link of a farm that a restart moves, directly below the published folder."""

RESERVED_NAMES: Final = frozenset({INDIRECTION, f"{INDIRECTION}.new"})
"""What no file or folder at the top of a model may be called, since the farm has it there."""

_FOLDER = Path(__file__).parent
_REBUILD = "reinstall modelcar, or run `python hatch_build.py` in a checkout"


@cache
def holder_bytes(architecture: Architecture) -> bytes:
    """The program for `linux/<architecture>`, exactly as pinned; `StorageError` when it is missing or altered."""
    name = f"bin/holder-{architecture}"
    try:
        content = (_FOLDER / name).read_bytes()
        lines = (_FOLDER / "SHA256SUMS").read_text("ascii").splitlines()
    except OSError as error:
        raise StorageError(f"cannot read modelcar/holder/{name}: {error.strerror}", hint=_REBUILD) from error
    pinned = {file: digest for digest, file in (line.split() for line in lines)}
    if hashlib.sha256(content).hexdigest() != pinned.get(name):
        raise StorageError(f"modelcar/holder/{name} is not the program that SHA256SUMS pins", hint=_REBUILD)
    return content
