"""What a tensor's name says of its place in a model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

__all__ = ["TensorName"]

# What decoder layers hang from. Other stacks (vision, audio) are no part of the pipeline.
_STACKS: Final = frozenset(
    {
        "backbone.layers",
        "blk",  # GGUF
        "gpt_neox.layers",
        "h",
        "language_model.layers",
        "language_model.model.layers",
        "layers",  # Mistral's own format
        "model.decoder.layers",
        "model.language_model.layers",
        "model.layers",
        "model.text_model.layers",
        "transformer.blocks",
        "transformer.encoder.layers",
        "transformer.h",
    }
)
_EMBEDDINGS: Final = frozenset(
    {
        "embed_in",
        "embed_tokens",
        "tok_embeddings",
        "token_embd",
        "word_embeddings",
        "wte",
    }
)
_HEADS: Final = frozenset({"embed_out", "lm_head", "output"})
_FINAL_NORMS: Final = frozenset({"final_layer_norm", "final_layernorm", "ln_f", "norm", "norm_f", "output_norm"})
# What the parts at the top of a language model may hang from.
_ROOTS: Final = frozenset(
    {
        "",
        "backbone",
        "gpt_neox",
        "language_model",
        "language_model.model",
        "model",
        "model.decoder",
        "model.language_model",
        "model.text_model",
        "transformer",
    }
)
_LAYER: Final = re.compile(r"(.+?)\.([0-9]{1,5})\.(.+)")
_EXPERT: Final = re.compile(r"(?:^|\.)experts\.([0-9]{1,6})\.")
# All experts in one tensor: `experts.down_proj_blocks` (gpt-oss, Llama 4), `ffn_up_exps.weight` (GGUF).
_STACKED: Final = re.compile(r"(?:^|\.)experts\.[a-z_]+$|^ffn_[a-z]+_exps\.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorName:
    """A name in parts: `model.layers.3.mlp.experts.7.w1.weight`.

    Attributes:
        layer: of the decoder; `None` for what lies outside of it.
        expert: its number.
        stacked: whether all experts of the layer lie in this one tensor, one after the other.
        shared: whether it belongs to an expert that every token passes through.
        module: `w1`.
        parent: what the module belongs to: `experts.7`.
        parameter: `weight`.
        role: `embedding`, `head` or `norm` for the known parts of a language model outside of its layers.
    """

    layer: int | None
    expert: int | None
    stacked: bool
    shared: bool
    module: str
    parent: str
    parameter: str
    role: str | None

    @classmethod
    @lru_cache(maxsize=1 << 17)  # every rank asks for the same ones
    def parse(cls, name: str) -> TensorName:
        match = _LAYER.fullmatch(name)
        layer, rest = None, name
        if match and match[1] in _STACKS:
            layer, rest = int(match[2]), match[3]
        path, _, parameter = rest.rpartition(".")
        parent, _, module = path.rpartition(".")
        expert = _EXPERT.search(rest) if layer is not None else None
        inside = layer is not None
        return cls(
            layer=layer,
            expert=int(expert[1]) if expert else None,
            stacked=inside and _STACKED.search(rest) is not None,
            shared=inside and ".shared_expert" in f".{rest}",
            module=module,
            parent=parent,
            parameter=parameter,
            role=None if inside else _role(parent, module),
        )


def _role(root: str, module: str) -> str | None:
    if root not in _ROOTS:
        return None
    if module in _EMBEDDINGS:
        return "embedding"
    if module in _HEADS:
        return "head"
    return "norm" if module in _FINAL_NORMS else None
