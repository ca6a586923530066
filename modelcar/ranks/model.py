"""What of a model's `config.json` decides how its tensors are cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

__all__ = ["ModelShape"]

# Where multimodal models keep what is said of their language model.
_INNER: Final = ("text_config", "llm_config", "language_config")
_HEADS: Final = ("num_attention_heads", "n_head", "n_heads", "num_heads")
_LAYERS: Final = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_WIDTHS: Final = ("hidden_size", "n_embd", "d_model", "dim")
_FEED_FORWARD: Final = (
    "intermediate_size",
    "moe_intermediate_size",
    "shared_expert_intermediate_size",
    "intermediate_size_mlp",
    "ffn_dim",
    "ffn_hidden_size",
    "n_inner",
    "hidden_dim",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """Sizes in elements; `None` for what `config.json` does not say, so that nothing is cut which depends on it.

    Attributes:
        kind: `model_type`, such as `llama`.
        feed_forward: sizes that a feed-forward layer of this model may have inside.
        tied: whether the output head is the input embedding; the tensors may tell otherwise.
    """

    kind: str = ""
    layers: int | None = None
    heads: int | None = None
    kv_heads: int | None = None
    head_size: int | None = None
    vocabulary: int | None = None
    feed_forward: frozenset[int] = frozenset()
    tied: bool = False

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Self:
        """From `config.json`, or `params.json` of Mistral's own format. What makes no sense counts as not said."""
        inner = next((c for name in _INNER if isinstance(c := config.get(name), dict)), None)
        levels = [inner, config] if inner is not None else [config]
        heads = _number(levels, _HEADS)
        width = _number(levels, _WIDTHS)
        head_size = _number(levels, ("head_dim",))
        if head_size is None and heads and width and width % heads == 0:
            head_size = width // heads
        kinds = [level.get("model_type") for level in levels]
        return cls(
            kind=next((kind for kind in kinds if isinstance(kind, str)), ""),
            layers=_number(levels, _LAYERS),
            heads=heads,
            kv_heads=_number(levels, ("num_key_value_heads", "n_kv_heads", "num_kv_heads")) or heads,
            head_size=head_size,
            vocabulary=_number(levels, ("vocab_size",)),
            feed_forward=_feed_forward(levels),
            tied=any(level.get("tie_word_embeddings") is True for level in levels),
        )


def _feed_forward(levels: list[Mapping[str, Any]]) -> frozenset[int]:
    sizes = {size for name in _FEED_FORWARD if (size := _number(levels, (name,)))}
    shared = _number(levels, ("n_shared_experts", "num_shared_experts"))
    expert = _number(levels, ("moe_intermediate_size",))
    if shared and expert:
        sizes.add(shared * expert)
    if not sizes and (width := _number(levels, _WIDTHS)):
        sizes.add(4 * width)  # what n_inner stands for where it is null
    return frozenset(sizes)


def _number(levels: list[Mapping[str, Any]], names: tuple[str, ...]) -> int | None:
    for level in levels:
        for name in names:
            value = level.get(name)
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
    return None
