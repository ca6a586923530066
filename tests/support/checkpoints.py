"""Small checkpoints made from nothing: valid safetensors shards, an index, a config, a tokenizer, a card."""

from __future__ import annotations

import atexit
import hashlib
import json
import shutil
import time
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

from tests.support.weights import safetensors_bytes

__all__ = ["age", "files_of", "make_checkpoint"]

_SMALL: Final = 1_000_000  # elements
_AT_ONCE: Final = 8
_READY: Final[dict[tuple[int, int, str], list[Path]]] = {}
"""Checkpoints that somebody may have, by their kind."""

CARD = """---
license: apache-2.0
pipeline_tag: text-generation
---
# Tiny
"""


def make_checkpoint(folder: Path, *, shards: int = 3, elements: int = 50_000, seed: str = "") -> Path:
    """Write a sharded checkpoint whose weights are a function of `seed`; BF16, `elements` a shard. No memo takes its
    files for new ones, see `age`: that takes a moment, so where several of a kind are asked for, more lie ready."""
    kind = (shards, elements, seed)
    if kind in _READY and shards * elements <= _SMALL:
        if not _READY[kind]:
            place = Path(mkdtemp(prefix="checkpoints-"))
            atexit.register(shutil.rmtree, place, ignore_errors=True)
            _READY[kind] = [_write(place / str(i), *kind) for i in range(_AT_ONCE)]
            age(place)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with suppress(OSError):  # there is something, or it lies on another file system
            return _READY[kind].pop().rename(folder)
    _READY.setdefault(kind, [])
    _write(folder, *kind)
    age(folder)
    return folder


def _write(folder: Path, shards: int, elements: int, seed: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    weight_map = {}
    for i in range(1, shards + 1):
        name, file = f"model.layers.{i}.weight", f"model-{i:05}-of-{shards:05}.safetensors"
        data = hashlib.shake_128(f"{seed}{i}".encode()).digest(2 * elements)
        (folder / file).write_bytes(safetensors_bytes({name: ("BF16", (elements,), data)}, align=8))
        weight_map[name] = file
    index = {"metadata": {"total_size": 2 * elements * shards}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps({"architectures": ["TinyForCausalLM"], "model_type": "tiny"}))
    (folder / "tokenizer.json").write_text(json.dumps({"version": "1.0", "model": {"vocab": {"a": 0}}}))
    (folder / "README.md").write_text(CARD)
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text("{}")
    return folder


def age(folder: Path) -> None:
    """Wait until a memo would trust these files: their last change must lie more than a clock tick back."""
    newest = max(max(s.st_mtime_ns, s.st_ctime_ns) for s in (p.stat() for p in folder.rglob("*")))
    time.sleep(max(0, newest + 60 * 10**6 - time.time_ns()) / 1e9)


def files_of(folder: Path) -> dict[str, bytes]:
    """Relative path to content, for comparing folders."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
