"""How engines divide the parameters of a layer over ranks, by their names.

A matrix is stored as `[out, in]`. Some modules are divided by what comes out of them (rows), the ones behind those by
what goes in (columns). Heads and their groups are never divided; where there are fewer key-value heads than ranks,
several ranks have the same one. Whatever is not certain is not divided: a rank may have too much, never too little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from modelcar.checkpoint.formats.header import Tensor
from modelcar.ranks.model import ModelShape
from modelcar.ranks.names import TensorName
from modelcar.ranks.slices import Cut, Why, merge_ranges

__all__ = ["find_cut"]

_QUERY: Final = frozenset({"q_proj", "wq", "q_b_proj", "kv_b_proj"})
_KEY_VALUE: Final = frozenset({"k_proj", "v_proj", "wk", "wv"})
_UP: Final = frozenset({"gate_proj", "up_proj", "w1", "w3", "fc1", "c_fc", "dense_h_to_4h"})
_FUSED_UP: Final = frozenset({"gate_up_proj"})
_FUSED_QKV: Final = frozenset({"qkv_proj", "W_pack"})
_HEAD_BY_HEAD: Final = frozenset({"query_key_value"})  # the three of one head beside each other
_OUTPUT: Final = _QUERY | _KEY_VALUE | _UP | _FUSED_UP | _FUSED_QKV | _HEAD_BY_HEAD
_ATTENTION_OUT: Final = frozenset({"o_proj", "out_proj", "wo", "dense"})
_DOWN: Final = frozenset({"down_proj", "w2", "fc2", "c_proj", "dense_4h_to_h"})
_INPUT: Final = _ATTENTION_OUT | _DOWN
_REPLICATED: Final = frozenset({"gate", "router", "shared_expert_gate", "q_a_proj", "kv_a_proj_with_mqa", "rotary_emb"})
# Names that mean something else elsewhere (GPT-2 stores its matrices transposed), with the models that they are for.
_ONLY: Final = {
    "W_pack": ("baichuan",),
    "c_fc": ("starcoder2",),
    "c_proj": ("starcoder2",),
    "dense": ("bloom", "falcon", "gpt_neox", "phi"),
    "dense_4h_to_h": ("bloom", "falcon", "gpt_neox"),
    "dense_h_to_4h": ("bloom", "falcon", "gpt_neox"),
    "out_proj": ("opt",),
    "qkv_proj": ("phi3", "phi4mm"),
    "query_key_value": ("bloom", "gpt_neox"),
}
_NEVER: Final = {"w2": ("qwen",)}  # where it is one of two that go up
_STORED: Final = frozenset({"weight", "weight_packed"})
_TRANSPOSED: Final = "qweight"  # GPTQ and AWQ: `[in, out]`, one of the two packed
_PACKING: Final = (1, 2, 4, 8, 16)  # how many numbers may be stored as one
_VOCABULARY_STEP: Final = 64  # engines pad the vocabulary to a multiple of it


@dataclass(frozen=True, slots=True)
class _Run:
    """`units` equal things in a row that must not be divided themselves; `repeat` if ranks may share one."""

    units: int
    share: int = 1  # of the dimension's length, where several runs make it up
    repeat: bool = False


def find_cut(name: TensorName, tensor: Tensor, shape: ModelShape, slices: int, index: int) -> Cut | Why:
    """What of a tensor rank `index` of `slices` has."""
    if slices == 1 or not tensor.shape or name.role == "norm":
        return Why.SHARED
    if name.role is not None:
        return _vocabulary(tensor, shape, slices, index)
    if name.layer is None:
        return Why.UNKNOWN
    if name.stacked:
        return Why.UNSURE
    if "norm" in name.module or name.module.startswith("ln_") or name.module in _REPLICATED:
        return Why.SHARED
    if name.module not in _OUTPUT | _INPUT:
        return Why.UNKNOWN
    if not _is_known(name.module, shape.kind):
        return Why.UNSURE
    return _matrix(name, tensor, shape, slices, index)


def _is_known(module: str, kind: str) -> bool:
    return kind in _ONLY.get(module, (kind,)) and kind not in _NEVER.get(module, ())


def _matrix(name: TensorName, tensor: Tensor, shape: ModelShape, slices: int, index: int) -> Cut | Why:
    divides_rows = name.module in _OUTPUT
    if name.parameter == "bias" and len(tensor.shape) == 1:
        dimension = 0 if divides_rows else None
    elif name.parameter in _STORED and len(tensor.shape) == 2:
        if tensor.shape[1] == 1:
            return Why.UNSURE  # bitsandbytes: packed without rows
        dimension = 0 if divides_rows else 1
    elif name.parameter == _TRANSPOSED and len(tensor.shape) == 2:
        dimension = 1 if divides_rows else 0
    else:
        return Why.SHARED  # scales, zeros, orders: small, and laid out in as many ways as there are methods
    if dimension is None:
        return Why.SHARED
    is_packed = name.parameter != "bias" and (dimension == 1 or name.parameter == _TRANSPOSED)
    length = tensor.shape[dimension]
    runs = _runs(name.module, length, shape, _PACKING if is_packed else (1,))
    return _divide(dimension, length, runs, slices, index) if runs else Why.ODD


def _runs(module: str, length: int, shape: ModelShape, packing: Sequence[int]) -> list[_Run]:
    """What lies along a dimension of `length`; empty if it is not as it must be. `packing`: numbers stored as one."""
    heads, groups, size = shape.heads, shape.kv_heads, shape.head_size
    sizes = [length * numbers for numbers in packing]
    if module in _UP | _DOWN:
        return [_Run(length)] if shape.feed_forward.intersection(sizes) else []
    if module in _FUSED_UP:
        fits = length % 2 == 0 and shape.feed_forward.intersection(n // 2 for n in sizes)
        return [_Run(length // 2), _Run(length // 2)] if fits else []
    if heads is None or groups is None:
        return []
    if module in _QUERY | _ATTENTION_OUT | _HEAD_BY_HEAD:
        return [_Run(heads)] if length % heads == 0 else []
    if size is None:
        return []
    if module in _KEY_VALUE:
        return [_Run(groups, repeat=True)] if groups * size in sizes and length % groups == 0 else []
    total = heads + 2 * groups
    if total * size not in sizes or length % total:
        return []
    return [_Run(heads, heads), _Run(groups, groups, repeat=True), _Run(groups, groups, repeat=True)]


def _divide(dimension: int, length: int, runs: Sequence[_Run], slices: int, index: int) -> Cut | Why:
    """The slice of each run: an even one, or the one thing that several ranks share."""
    spans, start = [], 0
    total = sum(run.share for run in runs)
    for run in runs:
        size = length * run.share // total
        if run.units % slices == 0:
            step = size // slices
            spans.append((start + index * step, start + (index + 1) * step))
        elif run.repeat and slices % run.units == 0:
            step = size // run.units
            number = index // (slices // run.units)
            spans.append((start + number * step, start + (number + 1) * step))
        else:
            return Why.UNEVEN
        start += size
    return Cut(dimension, merge_ranges(spans))


def _vocabulary(tensor: Tensor, shape: ModelShape, slices: int, index: int) -> Cut | Why:
    """Rows of an embedding or of the output head, padded at their end so that all ranks have equally many."""
    rows = tensor.shape[0]
    if rows != shape.vocabulary:
        return Why.ODD
    padded = -(-rows // _VOCABULARY_STEP) * _VOCABULARY_STEP
    if padded % slices:
        return Why.UNEVEN
    step = padded // slices
    return Cut(0, merge_ranges([(min(index * step, rows), min((index + 1) * step, rows))]))
