"""The models that pages speak of: small, and made up, but of the kind that they say."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from tests.support.architectures import llama, mixtral, write_checkpoint
from tests.support.checkpoints import age, make_checkpoint
from tests.support.torch_writer import Raw, Storage, Tensor, zipped
from tests.support.weights import safetensors_bytes

__all__ = ["MAKERS"]

_SYSTEM = Raw(b"cposix\nsystem\n(X\x02\x00\x00\x00idtR")


def _tiny(target: Path) -> None:
    make_checkpoint(target, seed=target.name, elements=200_000)


def _dense(target: Path) -> None:
    write_checkpoint(target, llama(layers=4, vocabulary=256), shards=4)
    age(target)


def _mixture(target: Path) -> None:
    write_checkpoint(target, mixtral(layers=2, experts=8), shards=3)
    age(target)


def _pickled(target: Path) -> None:
    """What torch saved before there were safetensors."""
    target.mkdir(parents=True)
    (target / "config.json").write_text(json.dumps({"architectures": ["TinyForCausalLM"], "model_type": "tiny"}))
    (target / "pytorch_model.bin").write_bytes(_torch_file())
    age(target)


def _hostile(target: Path) -> None:
    target.write_bytes(_torch_file(extra=_SYSTEM))


def _adapter(target: Path) -> None:
    """A LoRA adapter as PEFT saves it."""
    target.mkdir(parents=True)
    (target / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 8}))
    tensors: dict[str, tuple[str, tuple[int, ...], bytes]] = {
        f"base_model.model.layers.0.{which}.weight": ("BF16", (8, 64), bytes(1024)) for which in ("A", "B")
    }
    (target / "adapter_model.safetensors").write_bytes(safetensors_bytes(tensors, align=8))
    age(target)


def _torch_file(extra: Raw | None = None) -> bytes:
    data = hashlib.shake_128(b"weights").digest(4 * 4096)
    tensor = Tensor(storage=Storage(key="0", data=data), shape=(64, 64))
    return zipped({"model.layers.0.weight": tensor, **({"more": extra} if extra else {})}, {"0": data})


MAKERS = {
    "checkpoint": _tiny,
    "dense": _dense,
    "mixture": _mixture,
    "pickled": _pickled,
    "hostile": _hostile,
    "adapter": _adapter,
}
