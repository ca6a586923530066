"""Load a specimen the way a careless program would, in a process of its own, and see whether its payload ran.

    python -m tests.corpus.detonate          every specimen that says how; libraries that are missing are named

`detonate` starts a process with an environment variable that names a marker file. In that process, `loaders.py` calls
the format's own loader and nothing else. A payload that does what its specimen says has created the marker by the end.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.corpus.payloads import MARKER
from tests.corpus.specimen import Specimen

__all__ = ["LIBRARIES", "LOAD", "ROOT", "can_load", "detonate"]

ROOT: Final = Path(__file__).resolve().parents[2]
LOAD: Final = (sys.executable, "-P", str(Path(__file__).with_name("loaders.py")))
"""The command that loads a file: followed by the loader's name and the file's."""

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
        search = os.pathsep.join([str(folder), str(ROOT), os.environ.get("PYTHONPATH", "")])
        environment = os.environ | {MARKER: str(marker), "PYTHONPATH": search, "KERAS_BACKEND": "torch"}
        command = [*LOAD, specimen.proof.loader, specimen.proof.path]
        subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=120, check=False)
        return marker.exists()


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
    sys.exit(1 if prove_all() else 0)
