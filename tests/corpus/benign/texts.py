"""What else lies in checkpoints: cards, configurations, vocabularies, licences, notebooks."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any, Final

from tests.corpus.specimen import CLEAN, NOT_MALICIOUS, UNVERIFIED, Specimen, Verdict
from tests.support.weights import simple_safetensors

ROOT: Final = Path(__file__).resolve().parents[3]
COMMIT: Final = hashlib.sha1(b"corpus", usedforsecurity=False).hexdigest()

CARD: Final = f"""---
language: [en, de]
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
base_model: acme/tiny-base
datasets:
- acme/fences
model-index:
- name: tiny
  results:
  - task: {{type: text-generation}}
    metrics: [{{type: accuracy, value: 0.61}}]
---
<p align="center"><img src="logo.png" alt="A fox" width="120"></p>

# Tiny 🦊

Trained on 4 sentences at commit `{COMMIT}`. Ask for access with your own token:

```python
from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained("acme/tiny", token="hf_...", revision="{COMMIT}")
```

```sh
export HF_TOKEN=<your token here>
curl -H "Authorization: Bearer $HF_TOKEN" https://huggingface.co/api/models/acme/tiny
```

| sha256 | file |
|---|---|
| {hashlib.sha256(b"weights").hexdigest()} | `model.safetensors` |
"""

BERT: Final[dict[str, Any]] = {
    "architectures": ["BertModel"],
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "hidden_size": 8,
    "id2label": {"0": "fox", "1": "hen"},
    "layer_norm_eps": 1e-12,
    "model_type": "bert",
    "num_hidden_layers": 1,
    "pad_token_id": 0,
    "torch_dtype": "float32",
    "transformers_version": "4.49.0",
    "vocab_size": 32,
}
DECODER: Final[dict[str, Any]] = {
    "architectures": ["LlamaForCausalLM"],
    "eos_token_id": [2, 7],
    "head_dim": None,
    "model_type": "llama",
    "quantization_config": {"bits": 4, "group_size": 128, "quant_method": "gptq", "sym": True},
    "rope_scaling": {"factor": 8.0, "original_max_position_embeddings": 64, "rope_type": "llama3"},
    "text_config": {"hidden_size": 8, "layer_types": ["full_attention", "sliding_attention"]},
    "tie_word_embeddings": False,
    "use_cache": True,
}


def specimens() -> list[Specimen]:
    return [*_cards(), *_configs(), *_vocabularies(), *_code()]


def _folder(
    name: str,
    description: str,
    files: dict[str, bytes | str],
    *,
    category: str = "text and pictures",
    expected: frozenset[Verdict] = CLEAN,
) -> Specimen:
    whole = {path: content.encode() if isinstance(content, str) else content for path, content in files.items()}
    return Specimen(
        name=name, category=category, reference=category, description=description, files=whole, expected=expected
    )


def _json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"


def _cards() -> list[Specimen]:
    picture = base64.b64encode((ROOT / "tests/corpus/fixtures/pictures/logo.png").read_bytes()).decode()
    licence = (ROOT / "LICENSE").read_bytes()
    several = CARD.replace("license: apache-2.0", "license:\n- apache-2.0\n- mit")
    return [
        _folder("card", "A card with tables, code, hashes and places for a token", {"README.md": CARD}),
        _folder("card-two-licences", "Two licences", {"README.md": several}),
        _folder("card-without-front", "A card without anything for machines", {"README.md": "# Tiny\n\nA fox.\n"}),
        _folder(
            "card-picture-inside",
            "A picture within the text",
            {"README.md": f"{CARD}\n![](data:image/png;base64,{picture})\n"},
        ),
        _folder(
            "licence", "A licence's whole text", {"LICENSE": licence, "NOTICE": "Tiny\nCopyright 2026 the authors\n"}
        ),
        _folder(
            "git-attributes",
            "What the Hub adds",
            {".gitattributes": "*.safetensors filter=lfs diff=lfs merge=lfs -text\n"},
        ),
    ]


def _configs() -> list[Specimen]:
    special = {"bos_token": {"content": "<s>", "lstrip": False, "normalized": False}, "unk_token": "<unk>"}
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    weight_map = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    index = {"metadata": {"total_size": 48}, "weight_map": weight_map}
    generation = {"do_sample": True, "temperature": 0.7, "top_p": 0.95, "eos_token_id": 2}
    processor = {"image_mean": [0.5, 0.5, 0.5], "image_processor_type": "CLIPImageProcessor", "size": {"height": 32}}
    pipeline = {
        "_class_name": "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": [None, None],
    }
    history = {"log_history": [{"loss": 0.5, "step": i, "learning_rate": 1e-5} for i in range(40)], "global_step": 40}
    return [
        _folder("config-bert", "An encoder's configuration", {"config.json": _json(BERT)}),
        _folder(
            "config-decoder",
            "A decoder's, with quantisation and nested parts",
            {"config.json": _json(DECODER), "generation_config.json": _json(generation)},
        ),
        _folder(
            "config-tokens",
            "Special tokens",
            {"special_tokens_map.json": _json(special), "added_tokens.json": _json({"<fox>": 31})},
        ),
        _folder(
            "config-sentences",
            "Modules of sentence-transformers",
            {"modules.json": _json(modules), "1_Pooling/config.json": _json({"pooling_mode_mean_tokens": True})},
        ),
        _folder("config-processor", "A picture processor's", {"preprocessor_config.json": _json(processor)}),
        _folder("config-diffusers", "A pipeline of diffusers' own classes", {"model_index.json": _json(pipeline)}),
        _folder("config-training", "What a trainer has logged", {"trainer_state.json": _json(history)}),
        _folder(
            "checkpoint-shards",
            "A whole small checkpoint in two shards",
            {
                "config.json": _json(BERT),
                "README.md": CARD,
                "model.safetensors.index.json": _json(index),
                "model-00001-of-00002.safetensors": simple_safetensors("a"),
                "model-00002-of-00002.safetensors": simple_safetensors("b", dtype="BF16"),
            },
            category="safetensors",
        ),
        _folder(
            "adapter",
            "A LoRA adapter",
            {
                "adapter_config.json": _json({"peft_type": "LORA", "r": 8, "target_modules": ["q", "v"]}),
                "adapter_model.safetensors": simple_safetensors("q.lora_A", "q.lora_B"),
            },
            category="safetensors",
        ),
    ]


def _vocabularies() -> list[Specimen]:
    ranks = "".join(f"{base64.b64encode(bytes([i])).decode()} {i}\n" for i in range(256))
    words = "".join(
        f"{word}\n" for word in ("[PAD]", "[UNK]", "fox", "##es", "größe", "日本", "os.system", "__class__", "eval(")
    )
    merges = "#version: 0.2\nf o\nfo x\nĠ h\n"
    vocabulary = {"f": 0, "o": 1, "x": 2, "fo": 3, "fox": 4, "\u0120h": 5, "{{": 6, "__import__": 7}
    return [
        _folder("tokenizer-tiktoken", "Ranks of bytes in base64", {"tiny.tiktoken": ranks}, category="tokenizer"),
        _folder(
            "tokenizer-vocab-txt", "Words, some of which look like code", {"vocab.txt": words}, category="tokenizer"
        ),
        _folder(
            "tokenizer-vocab-merges",
            "Vocabulary and merges",
            {"vocab.json": _json(vocabulary), "merges.txt": merges},
            category="tokenizer",
        ),
    ]


def _code() -> list[Specimen]:
    markdown = {"cell_type": "markdown", "metadata": {}, "source": ["# How to use\n", "Read the card."]}
    code = {"cell_type": "code", "metadata": {}, "execution_count": 1, "outputs": [], "source": ["print('fox')\n"]}
    about = {"metadata": {"kernelspec": {"name": "python3"}}, "nbformat": 4, "nbformat_minor": 5}
    module = '"""A tiny model."""\n\nfrom torch import nn\n\n\nclass TinyModel(nn.Module):\n    pass\n'
    mapped = {**BERT, "auto_map": {"AutoModel": "modeling_tiny.TinyModel"}}
    return [
        _folder(
            "notebook-text",
            "A notebook of text alone",
            {"usage.ipynb": _json({"cells": [markdown], **about})},
            category="code",
            expected=NOT_MALICIOUS,
        ),
        _folder(
            "notebook-code",
            "A notebook with code",
            {"usage.ipynb": _json({"cells": [markdown, code], **about})},
            category="code",
            expected=UNVERIFIED,
        ),
        _folder(
            "custom-code",
            "An honest module that the configuration names",
            {"config.json": _json(mapped), "modeling_tiny.py": module},
            category="code",
            expected=UNVERIFIED,
        ),
        _folder(
            "python-script",
            "An honest script",
            {"convert.py": "import sys\n\nprint(sys.argv)\n"},
            category="code",
            expected=UNVERIFIED,
        ),
    ]
