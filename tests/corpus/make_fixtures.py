"""Make tests/corpus/fixtures: small files by the libraries that people use, once, on somebody's machine.

    python3 -m venv /venv      (the path goes into some files: one that tells nothing)
    /venv/bin/pip install torch keras h5py onnx scikit-learn joblib numpy safetensors gguf tokenizers \\
        sentencepiece pillow
    /venv/bin/python -m tests.corpus.make_fixtures

The outcome is committed, because tests must not need these libraries. Each folder is one specimen; `benign/made.py`
says what each is and what a scanner should say of it. Rewrites README.md and SHA256SUMS beside them.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Final

__all__ = ["FIXTURES", "sums"]

FIXTURES: Final = Path(__file__).resolve().parent / "fixtures"
LIBRARIES: Final = (
    "torch", "keras", "h5py", "onnx", "scikit-learn", "joblib", "numpy", "safetensors", "gguf", "tokenizers",
    "sentencepiece", "pillow",
)  # fmt: skip

README: Final = """# Fixtures

Benign files made by `python -m tests.corpus.make_fixtures` with

{versions}

A test compares them with `SHA256SUMS`. None was made by hand, none holds anything but small numbers and made-up words.
"""


def sums(root: Path = FIXTURES) -> dict[str, str]:
    """sha256 of each fixture by its path; README.md and SHA256SUMS are none."""
    files = sorted(path for path in root.rglob("*") if path.is_file() and path.parent != root)
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def main() -> int:
    os.environ["KERAS_BACKEND"] = "torch"
    makers: dict[str, Callable[[Path], None]] = {}
    for module in ("torch_made", "numpy_made", "keras_made", "others_made"):
        makers |= importlib.import_module(f"tests.corpus.fixture_makers.{module}").MAKERS
    for folder in [path for path in FIXTURES.iterdir() if path.is_dir()]:
        shutil.rmtree(folder)
    for name, make in makers.items():
        folder = FIXTURES / name
        folder.mkdir()
        make(folder)
    versions = "\n".join(f"- {name} {version(name)}" for name in LIBRARIES)
    python = ".".join(map(str, sys.version_info[:3]))
    (FIXTURES / "README.md").write_text(README.format(versions=f"- Python {python}\n{versions}"))
    lines = [f"{digest}  {path}\n" for path, digest in sums().items()]
    (FIXTURES / "SHA256SUMS").write_text("".join(lines))
    print(f"{len(makers)} fixtures of {len(lines)} files in {FIXTURES}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
