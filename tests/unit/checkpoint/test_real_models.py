"""Published files, as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors import safe_open

from modelcar.checkpoint import Role, open_checkpoint
from modelcar.checkpoint.formats.gguf_values import LongArray

pytestmark = pytest.mark.slow


def test_minilm(minilm: Path) -> None:
    checkpoint = open_checkpoint(str(minilm))
    roles = {file.path: file.role for file in checkpoint.files}
    assert roles["model.safetensors"] is Role.WEIGHT
    assert roles["1_Pooling/config.json"] is Role.CONFIG
    assert roles["vocab.txt"] is Role.TOKENIZER
    assert roles["README.md"] is Role.CARD
    header = checkpoint.headers()["model.safetensors"]
    with safe_open(minilm / "model.safetensors", framework="np") as reference:
        assert {t.name: t.shape for t in header.tensors} == {
            name: tuple(reference.get_slice(name).get_shape())
            for name in reference.keys()  # noqa: SIM118  # not a mapping
        }
    facts = checkpoint.facts()
    assert facts.architecture == "BertModel"
    assert facts.parameter_count == 22_713_216
    assert facts.precision == "float32"
    assert facts.licenses == ("Apache-2.0",)
    assert facts.title == "all-MiniLM-L6-v2"
    assert facts.languages == ("en",)
    config = facts.modelpack_config(["sha256:" + "0" * 64])["config"]
    assert config["paramSize"] == "22.7M"
    assert config["capabilities"]["outputTypes"] == ["embedding"]


def test_gemma(gemma_gguf: Path) -> None:
    checkpoint = open_checkpoint(str(gemma_gguf))
    header = checkpoint.headers()[gemma_gguf.name]
    assert len(header.tensors) == 236
    assert header.metadata["tokenizer.ggml.tokens"] == LongArray("string", 262_144)
    assert header.tensors[0].offset == header.size
    last = header.tensors[-1]
    assert last.offset + last.size <= checkpoint.files[0].size < last.offset + last.size + 32
    facts = checkpoint.facts()
    assert (facts.architecture, facts.quantization, facts.parameter_count) == ("gemma3", "Q4_K_M", 268_098_176)
    assert facts.licenses == ("LicenseRef-gemma",)
