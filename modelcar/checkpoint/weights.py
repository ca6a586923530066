"""What the tensors of a checkpoint add up to: parameters, precision, quantisation.

A folder often holds the same model several times (other formats, half-precision variants, several quantisations). Only
one copy is counted, and where it is not clear which files make up the model, nothing is claimed.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from modelcar.checkpoint.formats.ggml import FILE_TYPES, QUANTIZED
from modelcar.checkpoint.formats.safetensors import DTYPE_BITS
from modelcar.checkpoint.formats.shards import shard_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from modelcar.checkpoint.formats.header import Header, Tensor

__all__ = ["WeightFacts", "is_projector", "preferred_copies", "weigh"]

_T = TypeVar("_T")

_VARIANT = re.compile(r"\.(fp16|fp32|bf16|fp8|int8|ema|non_ema)(\.|-\d{5}-of-)")
_PRECISIONS = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3", "F8_E5M2": "float8_e5m2", "C64": "complex64",
    "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64",
    "U8": "uint8", "U16": "uint16", "U32": "uint32", "U64": "uint64", "BOOL": "bool",
}  # fmt: skip
_FLOATS = frozenset(dtype for dtype in DTYPE_BITS if dtype[0] in "FC" or dtype == "BF16")
_UNQUANTIZED_FILES = frozenset({"F32", "F16", "BF16"})


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFacts:
    """`parameters` counts trained numbers, not what they are packed into; `None` wherever that cannot be told."""

    parameters: int | None = None
    precision: str | None = None
    quantization: str | None = None


def weigh(headers: Mapping[str, Header], config: Mapping[str, Any], *, components: bool) -> WeightFacts:
    """Add up `headers` (by path).

    Args:
        config: `config.json`, for the way that quantised weights are packed.
        components: whether subfolders are parts of one model (a diffusers pipeline).
    """
    safetensors = {path: header for path, header in headers.items() if header.format == "safetensors"}
    if safetensors:
        tensors = _one_copy(safetensors, components=components)
        return _weigh_safetensors(tensors, _quantization_config(config))
    return _weigh_gguf({path: header for path, header in headers.items() if header.format == "gguf"})


def _one_copy(headers: Mapping[str, Header], *, components: bool) -> list[Tensor] | None:
    """The tensors of one copy of the model; `None` if it is not clear which files those are."""
    folders: dict[str, list[str]] = {}
    for path in headers:
        folders.setdefault(path.rpartition("/")[0], []).append(path)
    if not components:
        top = min(folders, key=lambda folder: (folder.count("/") + bool(folder), folder))
        if top and len(folders) > 1:
            return None
        folders = {top: folders[top]}
    tensors: list[Tensor] = []
    for paths in folders.values():
        chosen = preferred_copies(paths)
        inside = [tensor for path in chosen for tensor in headers[path].tensors]
        if len({tensor.name for tensor in inside}) != len(inside):
            return None
        tensors += inside
    return tensors


def preferred_copies(paths: list[str]) -> list[str]:
    """Without variants and without Mistral's second copy, if something else remains."""
    plain = [path for path in paths if not _VARIANT.search(path)] or paths
    return [path for path in plain if not path.rpartition("/")[2].startswith("consolidated")] or plain


def _quantization_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    for place in (config, config.get("text_config")):
        for key in ("quantization_config", "compression_config"):
            found = place.get(key) if isinstance(place, dict) else None
            if isinstance(found, dict):
                return found
    return {}


def _weigh_safetensors(tensors: list[Tensor] | None, quantization: Mapping[str, Any]) -> WeightFacts:
    method = quantization.get("quant_method")
    method = method.lower() if isinstance(method, str) and method.isprintable() and len(method) < 64 else None
    if tensors is None:
        return WeightFacts(quantization=method)
    floats: Counter[str] = Counter()
    for tensor in tensors:
        floats[tensor.dtype] += tensor.elements if tensor.dtype in _FLOATS else 0
    dominant = max(floats, key=lambda dtype: (floats[dtype], dtype), default=None)
    precision = _PRECISIONS.get(dominant, dominant.lower()) if dominant and floats[dominant] else None
    return WeightFacts(parameters=_parameters(tensors, method, quantization), precision=precision, quantization=method)


def _parameters(tensors: Iterable[Tensor], method: str | None, quantization: Mapping[str, Any]) -> int | None:
    total = 0
    for tensor in tensors:
        count = _parameters_of(tensor, method, quantization)
        if count is None:
            return None
        total += count
    return total or None


def _parameters_of(tensor: Tensor, method: str | None, quantization: Mapping[str, Any]) -> int | None:
    """How many trained numbers `tensor` holds; `None` if its packing is not known.

    Packings: AutoGPTQ and AutoAWQ (`qweight`), bitsandbytes (4 bits in U8), MXFP4 (`_blocks`), FP8 with scales.
    """
    is_float = tensor.dtype in _FLOATS
    last = tensor.name.rpartition(".")[2]
    if method is None:
        return tensor.elements if is_float else 0
    if method in ("gptq", "awq"):
        bits = quantization.get("bits", quantization.get("w_bit"))
        if last == "qweight":
            return tensor.size * 8 // bits if isinstance(bits, int) and bits > 0 else None
        return 0 if last in ("qzeros", "scales", "g_idx") or not is_float else tensor.elements
    if method == "bitsandbytes":
        if any(
            part in tensor.name
            for part in (".absmax", ".quant_map", ".quant_state", ".nested_", ".SCB", ".weight_format")
        ):
            return 0
        four_bits = quantization.get("load_in_4bit") is True or quantization.get("_load_in_4bit") is True
        if tensor.dtype == "U8" and four_bits:
            return tensor.elements * 2
        return tensor.elements if is_float or tensor.dtype == "I8" else 0
    if method == "mxfp4" and last.endswith(("_blocks", "_scales")):
        return tensor.size * 2 if last.endswith("_blocks") else 0
    if method in ("fp8", "fbgemm_fp8", "mxfp4"):
        return tensor.elements if is_float and "scale" not in last else 0
    return None


def _weigh_gguf(headers: Mapping[str, Header]) -> WeightFacts:
    """Of a folder with several quantisations of one model, only what they agree on."""
    models: dict[str, list[Header]] = {}
    for path, header in headers.items():
        if not is_projector(header):
            shard = shard_of(path)
            models.setdefault(shard[0] if shard else path, []).append(header)
    facts = {_weigh_one_gguf(parts) for parts in models.values()}
    return WeightFacts(
        parameters=_agreed(fact.parameters for fact in facts),
        precision=_agreed(fact.precision for fact in facts),
        quantization=_agreed(fact.quantization for fact in facts),
    )


def is_projector(header: Header) -> bool:
    """Whether a GGUF file is the vision or audio part that llama.cpp loads beside a model, not a model."""
    metadata = header.metadata
    return metadata.get("general.type") == "mmproj" or metadata.get("general.architecture") == "clip"


def _weigh_one_gguf(parts: list[Header]) -> WeightFacts:
    sizes: Counter[str] = Counter()
    parameters = 0
    for header in parts:
        for tensor in header.tensors:
            sizes[tensor.dtype] += tensor.size
            parameters += tensor.elements
    dominant = max(sizes, key=lambda dtype: (sizes[dtype], dtype), default=None)
    file_types = (header.metadata.get("general.file_type") for header in parts)
    named = next((FILE_TYPES[t] for t in file_types if isinstance(t, int) and t in FILE_TYPES), dominant)
    return WeightFacts(
        parameters=parameters or None,
        precision=_PRECISIONS.get(dominant) if dominant and dominant not in QUANTIZED else None,
        quantization=None if named in _UNQUANTIZED_FILES else named,
    )


def _agreed(values: Iterable[_T]) -> _T | None:
    distinct = set(values)
    return distinct.pop() if len(distinct) == 1 else None
