"""Small checkpoints made from nothing: valid safetensors shards, an index, a config, a tokenizer, a card."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

from tests.support.weights import safetensors_bytes

__all__ = ["age", "files_of", "make_checkpoint"]

CARD = """---
license: apache-2.0
pipeline_tag: text-generation
---
# Tiny
"""


def make_checkpoint(folder: Path, *, shards: int = 3, elements: int = 50_000, seed: str = "") -> Path:
    """Write a sharded checkpoint whose weights are a function of `seed`; BF16, `elements` a shard."""
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
    age(folder)
    return folder


def age(folder: Path) -> None:
    """Wait until a memo would trust these files: their last change must lie more than a clock tick back."""
    newest = max(max(s.st_mtime_ns, s.st_ctime_ns) for s in (p.stat() for p in folder.rglob("*")))
    time.sleep(max(0, newest + 60 * 10**6 - time.time_ns()) / 1e9)


def files_of(folder: Path) -> dict[str, bytes]:
    """Relative path to content, for comparing folders."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
