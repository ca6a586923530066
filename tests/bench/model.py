"""Checkpoints to measure with: valid safetensors of a given size, the same bytes on every machine."""

from __future__ import annotations

import json
import random
import shutil
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

__all__ = ["Model", "random_model", "sharded_model", "sharded_noise", "sparse_model"]

SHARDS: Final = 4
_TENSORS: Final = 16  # a shard
_COLUMNS: Final = 1024
_BF16: Final = 2  # bytes
_PIECE: Final = 1 << 20
_CONFIG: Final = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": _COLUMNS,
    "torch_dtype": "bfloat16",
}
_CARD: Final = "---\nlicense: apache-2.0\n---\n# Benchmark\n\nRandom weights.\n"
_Fill = Callable[[BinaryIO, int, int], None]


@dataclass(frozen=True, slots=True)
class Model:
    """A checkpoint in a folder."""

    folder: Path

    @property
    def shards(self) -> list[Path]:
        return sorted(self.folder.glob("*.safetensors"))

    @property
    def files(self) -> list[Path]:
        return sorted(self.folder.iterdir())

    @property
    def size(self) -> int:
        return sum(f.stat().st_size for f in self.files)


def random_model(folder: Path, size: int, dtype: str = "BF16") -> Model:
    """About `size` bytes of reproducible noise in four shards, of a `dtype` of two bytes; made once."""
    return _model(folder, size, _noise, dtype=dtype)


def sharded_noise(folder: Path, shards: int, size: int) -> Model:
    """The same in so many shards, of `size` bytes in all."""
    return _model(folder, size, _noise, shards)


def sparse_model(folder: Path, size: int) -> Model:
    """About `size` bytes of zeros that take no disk; made once."""

    return _model(folder, size, _sparse)


def sharded_model(folder: Path, shards: int, size: int) -> Model:
    """Many shards of about `size` bytes each, of zeros that take no disk."""

    return _model(folder, shards * size, _sparse, shards)


def _noise(file: BinaryIO, tensor: int, size: int) -> None:  # the shape of a `_Fill`
    noise = random.Random(tensor)
    while size:
        size -= file.write(noise.randbytes(min(size, _PIECE)))


def _sparse(file: BinaryIO, tensor: int, size: int) -> None:  # the shape of a `_Fill`
    file.truncate(file.tell() + size)
    file.seek(0, 2)


def _model(folder: Path, size: int, fill: _Fill, shards: int = SHARDS, dtype: str = "BF16") -> Model:
    if folder.exists():
        return Model(folder)
    unfinished = folder.with_name(f".{folder.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    weight_map: dict[str, str] = {}
    tensors = iter(range(shards * _TENSORS))
    rows = size // (shards * _TENSORS * _COLUMNS * _BF16)
    for shard in range(1, shards + 1):
        path = unfinished / f"model-{shard:05}-of-{shards:05}.safetensors"
        weight_map |= dict.fromkeys(_write_shard(path, tensors, rows, fill, dtype), path.name)
    index = {"metadata": {"total_size": shards * _TENSORS * rows * _COLUMNS * _BF16}, "weight_map": weight_map}
    (unfinished / "model.safetensors.index.json").write_text(json.dumps(index))
    (unfinished / "config.json").write_text(json.dumps(_CONFIG))
    (unfinished / "README.md").write_text(_CARD)
    unfinished.rename(folder)
    return Model(folder)


def _write_shard(path: Path, tensors: Iterator[int], rows: int, fill: _Fill, dtype: str) -> list[str]:
    size = rows * _COLUMNS * _BF16
    mine = [next(tensors) for _ in range(_TENSORS)]
    header = {
        f"model.layers.{tensor}.weight": {
            "dtype": dtype,
            "shape": [rows, _COLUMNS],
            "data_offsets": [i * size, (i + 1) * size],
        }
        for i, tensor in enumerate(mine)
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in mine:
            fill(file, tensor, size)
    return list(header)
