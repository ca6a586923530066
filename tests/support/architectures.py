"""Made-up models of the common architectures: their `config.json`, and names, dtypes and shapes of their tensors."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelcar.checkpoint.formats.header import Tensor
from modelcar.checkpoint.formats.safetensors import DTYPE_BITS
from modelcar.layers.index import IndexedFile
from tests.support.checkpoints import age

__all__ = [
    "ARCHITECTURES",
    "Model",
    "deepseek",
    "gpt_neox",
    "gptq",
    "llama",
    "mixtral",
    "phi3",
    "qwen_moe_stacked",
    "write_checkpoint",
]

Shapes = dict[str, tuple[str, tuple[int, ...]]]


@dataclass(frozen=True, kw_only=True)
class Model:
    """`tensors`: name -> (dtype, shape), in file order."""

    config: Mapping[str, Any]
    tensors: Shapes

    def files(self, shards: int = 1) -> list[IndexedFile]:
        """As the model index has them: the tensors in turn, spread over so many shards, and a configuration."""
        names = list(self.tensors)
        per_shard = -(-len(names) // shards)
        groups = [names[i : i + per_shard] for i in range(0, len(names), per_shard)]
        weights = [
            self._shard(f"model-{i:05}-of-{len(groups):05}.safetensors", group) for i, group in enumerate(groups, 1)
        ]
        return [*weights, IndexedFile(path="config.json", offset=0, size=100, role="config")]

    def _shard(self, path: str, names: Sequence[str]) -> IndexedFile:
        position = start = 64
        tensors = []
        for name in names:
            dtype, shape = self.tensors[name]
            size = math.prod(shape) * DTYPE_BITS[dtype] // 8
            tensors.append(Tensor(name=name, dtype=dtype, shape=shape, offset=position, size=size))
            position += size
        return IndexedFile(
            path=path,
            offset=0,
            size=position,
            role="weight",
            format="safetensors",
            header_size=start,
            tensors=tuple(tensors),
        )

    def write(self, names: Sequence[str], content: Mapping[str, bytes]) -> bytes:
        """A safetensors file of some of the tensors."""
        header, data = {}, b""
        for name in names:
            dtype, shape = self.tensors[name]
            offsets = [len(data), len(data) + len(content[name])]
            header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": offsets}
            data += content[name]
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        return struct.pack("<Q", len(text)) + text + data


def write_checkpoint(folder: Path, model: Model, *, shards: int = 2, seed: str = "") -> dict[str, bytes]:
    """Write the model as people publish them; returns the bytes of its tensors, a function of `seed`."""
    folder.mkdir(parents=True, exist_ok=True)
    files = model.files(shards)[:-1]
    tensors = [tensor for file in files for tensor in file.tensors]
    content = {t.name: hashlib.shake_128(f"{seed}{t.name}".encode()).digest(t.size) for t in tensors}
    for file in files:
        (folder / file.path).write_bytes(model.write([t.name for t in file.tensors], content))
    index = {
        "metadata": {"total_size": sum(t.size for t in tensors)},
        "weight_map": {t.name: file.path for file in files for t in file.tensors},
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps(model.config))
    (folder / "tokenizer.json").write_text(json.dumps({"version": "1.0", "model": {"vocab": {"a": 0}}}))
    age(folder)
    return content


def _attention(prefix: str, *, heads: int, kv: int, size: int, width: int, bias: bool = False) -> Iterator[Any]:
    for name, count in (("q", heads), ("k", kv), ("v", kv)):
        yield f"{prefix}.self_attn.{name}_proj.weight", ("BF16", (count * size, width))
        if bias:
            yield f"{prefix}.self_attn.{name}_proj.bias", ("BF16", (count * size,))
    yield f"{prefix}.self_attn.o_proj.weight", ("BF16", (width, heads * size))


def _feed_forward(prefix: str, inner: int, width: int) -> Iterator[Any]:
    for name in ("gate", "up"):
        yield f"{prefix}.{name}_proj.weight", ("BF16", (inner, width))
    yield f"{prefix}.down_proj.weight", ("BF16", (width, inner))


def llama(
    *,
    layers: int = 4,
    heads: int = 8,
    kv: int = 4,
    size: int = 4,
    inner: int = 96,
    vocabulary: int = 200,
    tied: bool = False,
    bias: bool = False,
) -> Model:
    width = heads * size
    tensors: Shapes = {"model.embed_tokens.weight": ("BF16", (vocabulary, width))}
    for n in range(layers):
        tensors[f"model.layers.{n}.input_layernorm.weight"] = ("BF16", (width,))
        tensors |= _attention(f"model.layers.{n}", heads=heads, kv=kv, size=size, width=width, bias=bias)
        tensors |= _feed_forward(f"model.layers.{n}.mlp", inner, width)
    tensors["model.norm.weight"] = ("BF16", (width,))
    if not tied:
        tensors["lm_head.weight"] = ("BF16", (vocabulary, width))
    config = {
        "model_type": "llama",
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "hidden_size": width,
        "intermediate_size": inner,
        "vocab_size": vocabulary,
        "tie_word_embeddings": tied,
    }
    return Model(config=config, tensors=tensors)


def mixtral(*, layers: int = 2, experts: int = 8, inner: int = 64, **options: int) -> Model:
    base = llama(layers=layers, inner=inner, **options)  # type: ignore[arg-type]  # settings by their names
    width = base.config["hidden_size"]
    tensors = {name: entry for name, entry in base.tensors.items() if ".mlp." not in name}
    for n in range(layers):
        prefix = f"model.layers.{n}.block_sparse_moe"
        tensors[f"{prefix}.gate.weight"] = ("BF16", (experts, width))
        for expert in range(experts):
            for name, shape in (("w1", (inner, width)), ("w2", (width, inner)), ("w3", (inner, width))):
                tensors[f"{prefix}.experts.{expert}.{name}.weight"] = ("BF16", shape)
    config = {**base.config, "model_type": "mixtral", "num_local_experts": experts}
    return Model(config=config, tensors=tensors)


def deepseek(*, layers: int = 3, heads: int = 8, experts: int = 8, drafts: int = 1) -> Model:
    """Latent attention, one dense layer, shared experts, block-scaled FP8, a layer that drafts tokens."""
    width, nope, rope, value, rank, inner, expert = 64, 8, 4, 8, 16, 128, 32
    tensors: Shapes = {"model.embed_tokens.weight": ("BF16", (256, width))}

    def matrix(name: str, rows: int, columns: int) -> None:
        tensors[f"{name}.weight"] = ("F8_E4M3", (rows, columns))
        tensors[f"{name}.weight_scale_inv"] = ("F32", (-(-rows // 16), -(-columns // 16)))

    for n in range(layers + drafts):
        attention = f"model.layers.{n}.self_attn"
        matrix(f"{attention}.q_a_proj", rank, width)
        tensors[f"{attention}.q_a_layernorm.weight"] = ("BF16", (rank,))
        matrix(f"{attention}.q_b_proj", heads * (nope + rope), rank)
        matrix(f"{attention}.kv_a_proj_with_mqa", rank + rope, width)
        matrix(f"{attention}.kv_b_proj", heads * (nope + value), rank)
        matrix(f"{attention}.o_proj", width, heads * value)
        blocks = [(f"model.layers.{n}.mlp", inner)]
        if n > 0:
            tensors[f"model.layers.{n}.mlp.gate.weight"] = ("BF16", (experts, width))
            blocks = [(f"model.layers.{n}.mlp.experts.{i}", expert) for i in range(experts)]
            blocks.append((f"model.layers.{n}.mlp.shared_experts", 2 * expert))
        for prefix, size in blocks:
            matrix(f"{prefix}.gate_proj", size, width)
            matrix(f"{prefix}.up_proj", size, width)
            matrix(f"{prefix}.down_proj", width, size)
    tensors["model.norm.weight"] = ("BF16", (width,))
    tensors["lm_head.weight"] = ("BF16", (256, width))
    config = {
        "model_type": "deepseek_v3",
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "hidden_size": width,
        "intermediate_size": inner,
        "moe_intermediate_size": expert,
        "n_shared_experts": 2,
        "n_routed_experts": experts,
        "vocab_size": 256,
        "tie_word_embeddings": False,
    }
    return Model(config=config, tensors=tensors)


def gpt_neox(*, layers: int = 2, heads: int = 8, size: int = 4) -> Model:
    width = heads * size
    tensors: Shapes = {"gpt_neox.embed_in.weight": ("F16", (192, width))}
    for n in range(layers):
        prefix = f"gpt_neox.layers.{n}"
        tensors[f"{prefix}.input_layernorm.weight"] = ("F16", (width,))
        for name, shape in (
            ("attention.query_key_value", (3 * width, width)),
            ("attention.dense", (width, width)),
            ("mlp.dense_h_to_4h", (4 * width, width)),
            ("mlp.dense_4h_to_h", (width, 4 * width)),
        ):
            tensors[f"{prefix}.{name}.weight"] = ("F16", shape)
            tensors[f"{prefix}.{name}.bias"] = ("F16", shape[:1])
    tensors["gpt_neox.final_layer_norm.weight"] = ("F16", (width,))
    tensors["embed_out.weight"] = ("F16", (192, width))
    config = {
        "model_type": "gpt_neox",
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "vocab_size": 192,
    }
    return Model(config=config, tensors=tensors)


def phi3(*, layers: int = 2, heads: int = 8, kv: int = 4, size: int = 4, inner: int = 96) -> Model:
    """Query, key and value fused in one matrix, gate and up in another."""
    base = llama(layers=layers, heads=heads, kv=kv, size=size, inner=inner)
    width = heads * size
    tensors: Shapes = {}
    for name, entry in base.tensors.items():
        if name.endswith("q_proj.weight"):
            tensors[name.replace("q_proj", "qkv_proj")] = ("BF16", ((heads + 2 * kv) * size, width))
        elif name.endswith("gate_proj.weight"):
            tensors[name.replace("gate_proj", "gate_up_proj")] = ("BF16", (2 * inner, width))
        elif not name.endswith(("k_proj.weight", "v_proj.weight", "up_proj.weight")):
            tensors[name] = entry
    return Model(config={**base.config, "model_type": "phi3"}, tensors=tensors)


def gptq(*, layers: int = 2, heads: int = 8, kv: int = 4, size: int = 16, inner: int = 256) -> Model:
    """Four bits, eight to a number along the input, in groups of 32."""
    base = llama(layers=layers, heads=heads, kv=kv, size=size, inner=inner)
    tensors: Shapes = {}
    for name, (dtype, shape) in base.tensors.items():
        if not name.endswith("_proj.weight"):
            tensors[name] = (dtype, shape)
            continue
        module, (out, width) = name.removesuffix(".weight"), shape
        tensors[f"{module}.qweight"] = ("I32", (width // 8, out))
        tensors[f"{module}.qzeros"] = ("I32", (width // 32, out // 8))
        tensors[f"{module}.scales"] = ("F16", (width // 32, out))
        tensors[f"{module}.g_idx"] = ("I32", (width,))
    return Model(config=base.config, tensors=tensors)


def qwen_moe_stacked(*, layers: int = 2, experts: int = 8, inner: int = 64) -> Model:
    """All experts of a layer in one tensor."""
    base = llama(layers=layers)
    width = base.config["hidden_size"]
    tensors = {name: entry for name, entry in base.tensors.items() if ".mlp." not in name}
    for n in range(layers):
        prefix = f"model.layers.{n}.mlp"
        tensors[f"{prefix}.router.weight"] = ("BF16", (experts, width))
        tensors[f"{prefix}.experts.gate_up_proj"] = ("BF16", (experts, width, 2 * inner))
        tensors[f"{prefix}.experts.down_proj"] = ("BF16", (experts, inner, width))
    return Model(config={**base.config, "model_type": "gpt_oss", "intermediate_size": inner}, tensors=tensors)


ARCHITECTURES = (llama, mixtral, deepseek, gpt_neox, phi3, gptq, qwen_moe_stacked)
