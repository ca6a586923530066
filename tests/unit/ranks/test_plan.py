"""What a rank needs of known architectures, and what is said where little is known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelcar.errors import UsageError
from modelcar.layers.index import IndexedFile
from modelcar.ranks import RankPlan, Topology, merge_plans, plan_rank
from modelcar.ranks.slices import Why
from tests.support.architectures import Model, deepseek, gptq, llama, mixtral, qwen_moe_stacked


def plan(model: Model, rank: int = 0, *, shards: int = 1, **sizes: int) -> RankPlan:
    return plan_rank(model.files(shards), model.config, Topology(**sizes), rank)  # type: ignore[arg-type]  # settings by their names


def spans(found: RankPlan, name: str) -> tuple[int | None, tuple[tuple[int, int], ...]]:
    part = found.by_name()[name]
    return part.dimension, part.spans


ATTENTION = "model.layers.0.self_attn"


def test_a_llama_of_four_ranks() -> None:
    found = plan(llama(heads=8, kv=4, size=4, inner=96, vocabulary=200), rank=1, tp=4)
    assert spans(found, f"{ATTENTION}.q_proj.weight") == (0, ((8, 16),))
    assert spans(found, f"{ATTENTION}.k_proj.weight") == (0, ((4, 8),))
    assert spans(found, f"{ATTENTION}.o_proj.weight") == (1, ((8, 16),))
    assert spans(found, "model.layers.0.mlp.up_proj.weight") == (0, ((24, 48),))
    assert spans(found, "model.layers.0.mlp.down_proj.weight") == (1, ((24, 48),))
    assert spans(found, "model.layers.0.input_layernorm.weight") == (None, ())
    assert not found.whole


def test_key_value_heads_are_shared_where_there_are_fewer_than_ranks() -> None:
    model = llama(heads=8, kv=2, size=4)
    rows = [spans(plan(model, rank, tp=8), f"{ATTENTION}.k_proj.weight")[1] for rank in range(8)]
    assert rows == [((0, 4),)] * 4 + [((4, 8),)] * 4


def test_biases_follow_their_rows() -> None:
    found = plan(llama(heads=8, kv=2, size=4, bias=True), rank=7, tp=8)
    assert spans(found, f"{ATTENTION}.q_proj.bias") == (0, ((28, 32),))
    assert spans(found, f"{ATTENTION}.v_proj.bias") == (0, ((4, 8),))


def test_the_vocabulary_is_padded_at_its_end() -> None:
    """200 rows are padded to 256: the last of four ranks has but eight."""
    rows = [spans(plan(llama(vocabulary=200), rank, tp=4), "lm_head.weight")[1] for rank in range(4)]
    assert rows == [((0, 64),), ((64, 128),), ((128, 192),), ((192, 200),)]
    assert spans(plan(llama(vocabulary=100), 3, tp=4), "lm_head.weight") == (0, ((96, 100),))
    assert spans(plan(llama(vocabulary=60), 3, tp=4), "lm_head.weight") == (0, ((48, 60),))
    assert plan(llama(vocabulary=40), 3, tp=4).by_name()["lm_head.weight"].fetched == 0


@pytest.mark.parametrize("tied", [False, True])
def test_who_has_the_ends_of_the_model(tied: bool) -> None:
    model = llama(layers=4, tied=tied)
    first, last = (plan(model, rank, pp=2).by_name() for rank in range(2))
    assert "model.embed_tokens.weight" in first
    assert ("model.embed_tokens.weight" in last) == tied
    assert "model.norm.weight" not in first
    assert "model.norm.weight" in last
    assert ("lm_head.weight" in last) == (not tied)
    assert "lm_head.weight" not in first


def test_a_head_that_is_tied_and_there_all_the_same() -> None:
    model = llama(layers=4)
    model = replace(model, config={**model.config, "tie_word_embeddings": True})
    last = plan(model, 1, pp=2).by_name()
    assert {"model.embed_tokens.weight", "lm_head.weight"} <= last.keys()


def test_experts_in_blocks() -> None:
    model = mixtral(experts=8)
    for ranks in (Topology(tp=4, ep=4), Topology(tp=1, ep=4)):
        found = plan_rank(model.files(), model.config, ranks, 2).by_name()
        experts = {int(name.split("experts.")[1].split(".")[0]) for name in found if "experts." in name}
        assert experts == {4, 5}
        assert found["model.layers.0.block_sparse_moe.experts.4.w1.weight"].dimension is None
    sliced = plan(model, 5, tp=8, ep=4)
    assert spans(sliced, "model.layers.0.block_sparse_moe.experts.4.w1.weight") == (0, ((32, 64),))
    assert spans(sliced, "model.layers.0.block_sparse_moe.experts.5.w2.weight") == (1, ((32, 64),))
    assert spans(plan(model, 1, tp=2), "model.layers.0.block_sparse_moe.experts.0.w3.weight") == (0, ((32, 64),))


def test_experts_in_one_tensor() -> None:
    model = qwen_moe_stacked(experts=8)
    found = plan(model, 1, tp=4, ep=4)
    assert spans(found, "model.layers.0.mlp.experts.down_proj") == (0, ((2, 4),))
    assert spans(plan(model, 1, tp=4), "model.layers.0.mlp.experts.down_proj") == (None, ())
    assert plan(model, 1, tp=4).whole.keys() == {Why.UNSURE}


def test_layers_with_different_numbers_of_experts_are_not_divided() -> None:
    model = mixtral(experts=8)
    pruned = {name: entry for name, entry in model.tensors.items() if "layers.1.block_sparse_moe.experts.7" not in name}
    found = plan(replace(model, tensors=pruned), 0, tp=4, ep=4).by_name()
    assert sum("experts." in name for name in found) == (8 + 7) * 3


def test_latent_attention_shared_experts_and_layers_that_draft() -> None:
    model = deepseek(layers=3, heads=8, experts=8)
    sliced = plan(model, 1, tp=2)
    assert spans(sliced, f"{ATTENTION}.q_b_proj.weight") == (0, ((48, 96),))
    assert spans(sliced, f"{ATTENTION}.kv_b_proj.weight") == (0, ((64, 128),))
    assert spans(sliced, f"{ATTENTION}.kv_a_proj_with_mqa.weight") == (None, ())
    assert spans(sliced, f"{ATTENTION}.q_b_proj.weight_scale_inv") == (None, ())
    assert spans(sliced, "model.layers.1.mlp.shared_experts.up_proj.weight") == (0, ((32, 64),))
    assert spans(plan(model, 1, tp=2, ep=2), "model.layers.1.mlp.shared_experts.up_proj.weight") == (None, ())
    first, last = (plan(model, rank, pp=2).by_name() for rank in range(2))
    assert not any(name.startswith(("model.layers.2.", "model.layers.3.")) for name in first)
    assert "model.layers.3.self_attn.o_proj.weight" in last  # drafts tokens, where the output is
    assert "model.embed_tokens.weight" in last  # which it reads


def test_packed_integers() -> None:
    model = gptq(heads=8, kv=4, size=16, inner=256)
    found = plan(model, 1, tp=4)
    assert spans(found, f"{ATTENTION}.q_proj.qweight") == (1, ((32, 64),))
    assert spans(found, f"{ATTENTION}.o_proj.qweight") == (0, ((4, 8),))
    assert spans(found, "model.layers.0.mlp.down_proj.qweight") == (0, ((8, 16),))
    for helper in ("scales", "qzeros", "g_idx"):
        assert spans(found, f"model.layers.0.mlp.down_proj.{helper}") == (None, ())
    assert not found.whole


def test_packing_without_rows_is_not_divided() -> None:
    model = llama()
    packed = {name: ("U8", (6144, 1)) if "mlp" in name else entry for name, entry in model.tensors.items()}
    found = plan(replace(model, tensors=packed), 1, tp=4)
    assert spans(found, "model.layers.0.mlp.up_proj.weight") == (None, ())
    assert found.whole == {Why.UNSURE: 4 * 3 * 6144}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("vision_tower.encoder.layers.0.self_attn.q_proj.weight", Why.UNKNOWN),
        ("visual.blocks.0.mlp.up_proj.weight", Why.UNKNOWN),
        ("model.layers.0.self_attn.indexer.wk.weight", Why.ODD),
        ("model.layers.0.self_attn.novelty.weight", Why.UNKNOWN),
        ("model.layers.0.attn.c_attn.weight", Why.UNKNOWN),
        ("model.layers.0.mlp.c_proj.weight", Why.UNSURE),
        ("model.layers.0.self_attn.query_key_value.weight", Why.UNSURE),
    ],
)
def test_what_is_not_known_for_certain_is_taken_whole_and_said(name: str, why: Why) -> None:
    model = llama(layers=1)
    found = plan(replace(model, tensors={**model.tensors, name: ("BF16", (24, 32))}), 1, tp=4)
    assert found.by_name()[name].dimension is None
    assert found.by_name()[name].fetched == 24 * 32 * 2
    assert found.whole == {why: 24 * 32 * 2}


def test_without_a_configuration_only_layers_and_experts_are_told_apart() -> None:
    model = mixtral(layers=2, experts=4)
    found = plan_rank(model.files(), {}, Topology(tp=2, pp=2, ep=2), 1)
    assert all(part.dimension is None for part in found.by_name().values())
    assert not any(".layers.1." in name or "experts.0." in name for name in found.by_name())
    assert found.whole.keys() == {Why.ODD}


@pytest.mark.parametrize("config", [{"num_attention_heads": "many"}, {"num_attention_heads": True}, {"text_config": 3}])
def test_a_configuration_that_makes_no_sense_is_none(config: dict[str, object]) -> None:
    found = plan_rank(llama().files(), config, Topology(tp=2), 0)
    assert found.fetched == found.total


def test_heads_that_cannot_be_divided() -> None:
    found = plan(llama(heads=6, kv=2, size=4, inner=96), 1, tp=4)
    assert spans(found, f"{ATTENTION}.q_proj.weight") == (None, ())
    assert spans(found, f"{ATTENTION}.k_proj.weight") == (0, ((0, 4),))
    assert spans(found, "model.layers.0.mlp.up_proj.weight") == (0, ((24, 48),))
    assert found.whole.keys() == {Why.UNEVEN}


def test_the_language_model_inside_another_one() -> None:
    model = llama(layers=4, heads=8, kv=4)
    inner = {f"language_model.{name}": entry for name, entry in model.tensors.items()}
    found = plan_rank(Model(config={}, tensors=inner).files(), {"text_config": model.config}, Topology(tp=4, pp=2), 0)
    assert spans(found, f"language_model.{ATTENTION}.q_proj.weight") == (0, ((0, 8),))
    assert "language_model.model.layers.2.mlp.up_proj.weight" not in found.by_name()


def test_files_of_which_nothing_is_needed() -> None:
    found = plan(llama(layers=4), 0, pp=2, shards=4)
    weights = [file for file in found.files if file.file.tensors]
    assert [file.needed for file in weights] == [True, True, False, False]
    assert weights[3].ranges == ()
    assert found.files[-1].needed  # config.json
    assert found.files[-1].ranges == ((0, 100),)
    assert found.fetched < found.total / 1.8


def test_files_without_tensors_are_needed_by_everybody_even_empty_ones() -> None:
    files = [*llama().files(), IndexedFile(path="empty", offset=0, size=0, role="other")]
    found = plan_rank(files, {}, Topology(tp=2), 1).files[-1]
    assert (found.needed, found.has_all_tensors, found.ranges) == (True, True, ())


def test_a_node_with_several_ranks() -> None:
    model = llama(layers=4)
    plans = [plan(model, rank, tp=2, pp=2) for rank in range(4)]
    stage = merge_plans(plans[:2])
    assert stage.ranks == (0, 1)
    assert spans(stage, f"{ATTENTION}.q_proj.weight") == (0, ((0, 32),))
    assert stage.fetched <= plans[0].fetched + plans[1].fetched
    assert merge_plans(plans).fetched == plans[0].total
    assert merge_plans(plans[:1]) is plans[0]


def test_bytes_in_whole_tensors() -> None:
    model = llama(layers=4, vocabulary=256)
    assert plan(model, 0, tp=2).tensor_bytes == plan(model, 0, tp=2).total
    staged = plan(model, 0, pp=2)
    assert staged.tensor_bytes == staged.fetched < staged.total


def test_names_without_layers_cannot_be_staged() -> None:
    model = Model(config={}, tensors={"a": ("F32", (4,))})
    with pytest.raises(UsageError, match="layers cannot be told"):
        plan(model, 0, pp=2)
    assert plan(model, 0, tp=2).fetched == plan(model, 0, tp=2).total


def test_gguf_by_layers_and_experts() -> None:
    tensors = {"token_embd.weight": ("F16", (64, 8)), "output_norm.weight": ("F32", (8,))}
    for n in range(4):
        tensors[f"blk.{n}.attn_q.weight"] = ("F16", (8, 8))
        tensors[f"blk.{n}.ffn_up_exps.weight"] = ("F16", (4, 16, 8))
    model = Model(config={}, tensors=tensors)
    first, last = (plan(model, rank, tp=2, pp=2, ep=2).by_name() for rank in (1, 3))
    assert {name for name in first if name.startswith("blk.")} == {
        f"blk.{n}.{name}.weight" for n in (0, 1) for name in ("attn_q", "ffn_up_exps")
    }
    assert first["blk.0.ffn_up_exps.weight"].spans == ((2, 4),)
    assert first["blk.0.attn_q.weight"].dimension is None
    assert "output_norm.weight" not in first
    assert {"output_norm.weight", "token_embd.weight"} <= last.keys()  # there is no head: it is the embedding
