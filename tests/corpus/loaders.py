"""What runs in a process of its own to set a specimen off: `python loaders.py LOADER[:ARGUMENT] PATH`.

It is run by its path and imports nothing of ours: a hundred specimens need not wait a hundred times for the corpus.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import runpy
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final


def main(loader: str, path: str) -> None:
    """Load `path`; what the loader says is of no interest, broken streams are among the specimens."""
    kind, _, argument = loader.partition(":")
    with contextlib.suppress(Exception):
        _LOADERS[kind](Path(path), argument)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


def _pickle(path: Path, _: str) -> None:
    import pickle

    with path.open("rb") as stream:
        pickle.load(stream)  # noqa: S301  # that is what this is for


def _pickles(path: Path, _: str) -> None:
    import pickle

    with path.open("rb") as stream:
        while True:
            pickle.load(stream)  # noqa: S301  # what is tried out here, in a sandbox


def _pickle_at_512(path: Path, _: str) -> None:
    import pickle

    with path.open("rb") as stream:
        stream.seek(512)
        pickle.load(stream)  # noqa: S301  # what is tried out here, in a sandbox


def _zip_member(path: Path, member: str) -> None:
    import pickle

    with zipfile.ZipFile(path) as archive:
        pickle.loads(archive.read(member))  # noqa: S301  # what is tried out here, in a sandbox


def _torch_zip_member(path: Path, member: str) -> None:
    """Unpickle one member, with an empty storage for each persistent id."""
    import pickle

    torch = _module("torch")

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, pid: Any) -> Any:
            return torch.FloatStorage(4)

    with zipfile.ZipFile(path) as archive:
        Unpickler(io.BytesIO(archive.read(member))).load()


def _python(path: Path, _: str) -> None:
    runpy.run_path(str(path))


def _numpy(path: Path, _: str) -> None:
    import numpy as np

    loaded = np.load(path, allow_pickle=True)
    for name in getattr(loaded, "files", ()):
        loaded[name]


def _torch(path: Path, _: str) -> None:
    with path.open("rb") as stream:  # by its name torch takes a .safetensors for one
        _module("torch").load(stream, weights_only=False)


def _joblib(path: Path, _: str) -> None:
    _module("joblib").load(path)


def _jinja(path: Path, _: str) -> None:
    environment = _module("jinja2").Environment()  # not a sandbox: that is the point
    environment.from_string(path.read_text()).render(messages=[])


def _keras(path: Path, _: str) -> None:
    model = _module("keras").models.load_model(path, compile=False)
    model(_module("numpy").zeros((1, 1), "float32"))


def _keras_unsafe(path: Path, _: str) -> None:
    model = _module("keras").models.load_model(path, compile=False, safe_mode=False)
    model(_module("numpy").zeros((1, 1), "float32"))


def _module(name: str) -> Any:
    """Libraries that this project does not depend on."""
    return importlib.import_module(name)


_LOADERS: Final[dict[str, Callable[[Path, str], None]]] = {
    "pickle": _pickle,
    "pickles": _pickles,
    "pickle-at-512": _pickle_at_512,
    "zip-member": _zip_member,
    "torch-zip-member": _torch_zip_member,
    "python": _python,
    "numpy": _numpy,
    "torch": _torch,
    "torch-pickle": _pickle,
    "joblib": _joblib,
    "jinja": _jinja,
    "keras": _keras,
    "keras-unsafe": _keras_unsafe,
}


if __name__ == "__main__":
    main(*sys.argv[1:])
