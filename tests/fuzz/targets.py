"""What is fuzzed: groups of formats, by the names that files of them go under, and what must hold for any bytes."""

from __future__ import annotations

import time
from base64 import b64decode
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelcar.errors import InvalidContent
from modelcar.layers.index import ModelIndex
from modelcar.layers.members import locate_members
from modelcar.scanning.catalogue import FORMATS
from modelcar.scanning.content import literal
from modelcar.scanning.dispatch import scan_content
from modelcar.scanning.limits import Budget, Limits

__all__ = ["SEEDS", "TARGETS", "check", "seeds"]

SEEDS: Final = Path(__file__).parent / "seeds"

# The first byte of an input chooses the name, the rest is the file.
TARGETS: Final[dict[str, tuple[str, ...]]] = {
    "pickles": ("model.pkl", "model.bin", "model.joblib", "data"),
    "zips": ("model.bin", "model.pt", "model.zip", "arrays.npz", "model.keras"),
    "arrays": ("array.npy", "model.h5", "model.hdf5"),
    "archives": ("a.tar", "a.tar.gz", "a.bz2", "a.xz", "a.zst", "a.nemo"),
    "weights": ("model.safetensors", "model.gguf"),
    "texts": ("config.json", "tokenizer.json", "config.yaml", "README.md", "vocab.txt", "tokenizer.tiktoken", "a.toml"),
    "templates": ("chat_template.jinja", "tokenizer_config.json"),
    "protobufs": ("model.onnx", "tokenizer.model", "saved_model.pb"),
    "code": ("model.py", "notebook.ipynb", "lib.so", "run.sh", "model.pyc"),
    "pictures": ("a.png", "a.jpg", "a.gif", "a.webp", "a.svg"),
    "images": ("index", "layer"),
}
_LIMITS: Final = Limits(seconds=10, piece=16 << 20, expanded=64 << 20, members=1000)
_SLOW: Final = 20.0  # seconds; a hang, far beyond the bound that the scan sets itself


@dataclass(frozen=True, slots=True)
class Broken(Exception):
    """What must hold did not."""

    what: str


def check(target: str, data: bytes) -> None:
    """Scan `data` as the target says.

    Raises:
        Broken: a parser failed, or took longer than the bound that it is given.
        Exception: something that no parser may let out.
    """
    names = TARGETS[target]
    name, content = (names[data[0] % len(names)], data[1:]) if data else (names[0], b"")
    began = time.monotonic()
    if target == "images":
        _check_image(name, content)
    else:
        _, findings = scan_content(name, literal(content), FORMATS, Budget(limits=_LIMITS))
        for finding in findings:
            if finding.rule.id == "scan.failed":
                raise Broken(f"the parser of {finding.path} failed: {finding.detail}")
            if not finding.message.isprintable():
                raise Broken(f"{finding.rule.id} lets the file write what is not printable")
    if time.monotonic() - began > _SLOW:
        raise Broken(f"{name} took {time.monotonic() - began:.0f} s")


def _check_image(name: str, content: bytes) -> None:
    try:
        if name == "index":
            ModelIndex.parse(content)
        else:
            locate_members(literal(content).read, len(content))
    except InvalidContent:
        pass


def seeds(target: str) -> dict[str, bytes]:
    """Inputs that were found to matter, for the fuzzer to start from and the tests to replay.

    They are kept as text, so that no checkout has a file in it that a program would load.
    """
    return {path.stem: b64decode(path.read_bytes()) for path in sorted((SEEDS / target).glob("*.b64"))}
