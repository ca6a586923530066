"""Load a specimen the way a careless program would, in a process of its own, and see whether its payload ran.

    python -m tests.corpus.detonate          every specimen that says how; libraries that are missing are named

`detonate` starts a process with an environment variable that names a marker file. In that process, `main` calls the
format's own loader and nothing else. A payload that does what its specimen says has created the marker by the end.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import runpy
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.corpus.payloads import MARKER
from tests.corpus.specimen import Specimen

__all__ = ["LIBRARIES", "can_load", "detonate"]

ROOT: Final = Path(__file__).resolve().parents[2]

LIBRARIES: Final = {
    "pickle": (),
    "pickles": (),
    "pickle-at-512": (),
    "zip-member": (),
    "torch-zip-member": ("torch",),
    "python": (),
    "numpy": ("numpy",),
    "torch": ("torch",),
    "torch-pickle": ("torch",),
    "joblib": ("joblib", "numpy"),
    "jinja": ("jinja2",),
    "keras": ("keras",),
    "keras-unsafe": ("keras",),
}
"""Which libraries each loader needs beside the standard one."""


def can_load(specimen: Specimen) -> bool:
    """Whether this environment has what the specimen's proof needs; pickles that name numpy need that too."""
    if specimen.proof is None:
        return False
    content = specimen.files[specimen.proof.path]
    named = {"numpy"} if isinstance(content, bytes) and b"numpy" in content else set()
    needed = {*LIBRARIES[specimen.proof.loader.partition(":")[0]], *named}
    return all(importlib.util.find_spec(library) for library in needed)


def detonate(specimen: Specimen) -> bool:
    """Whether loading the specimen ran its payload."""
    if specimen.proof is None:
        raise ValueError(f"{specimen.name} does not say how it is set off")
    with tempfile.TemporaryDirectory() as scratch:
        marker = Path(scratch) / "marker"
        folder = specimen.write(Path(scratch))
        search = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        environment = os.environ | {MARKER: str(marker), "PYTHONPATH": search, "KERAS_BACKEND": "torch"}
        command = [sys.executable, "-m", "tests.corpus.detonate", specimen.proof.loader, specimen.proof.path]
        subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=120, check=False)
        return marker.exists()


# What runs in the other process


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
            pickle.load(stream)  # noqa: S301


def _pickle_at_512(path: Path, _: str) -> None:
    import pickle

    with path.open("rb") as stream:
        stream.seek(512)
        pickle.load(stream)  # noqa: S301


def _zip_member(path: Path, member: str) -> None:
    import pickle

    with zipfile.ZipFile(path) as archive:
        pickle.loads(archive.read(member))  # noqa: S301


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


def prove_all() -> int:
    """Set off what can be set off here and say which did not go off; returns how many."""
    from tests.corpus.malicious import malicious

    claimed = [specimen for specimen in malicious() if specimen.proof is not None]
    here = [specimen for specimen in claimed if can_load(specimen)]
    duds = [specimen.name for specimen in here if not detonate(specimen)]
    print(
        f"{len(here) - len(duds)} of {len(here)} went off; {len(claimed) - len(here)} need libraries that are not here"
    )
    for name in duds:
        print(f"did not go off: {name}")
    return len(duds)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        main(*sys.argv[1:])
    else:
        sys.exit(1 if prove_all() else 0)
