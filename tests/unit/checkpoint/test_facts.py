from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from modelcar.checkpoint import ModelFacts, open_checkpoint
from modelcar.checkpoint.facts import format_parameters
from modelcar.errors import MalformedFile
from tests.support.weights import gguf_bytes, safetensors_bytes, simple_safetensors

from .conftest import Tree

Folder = Callable[..., Path]

DIFF_IDS = ["sha256:" + "0" * 64, "sha256:" + "1" * 64]


def facts(folder: Folder, tree: Tree) -> ModelFacts:
    return open_checkpoint(str(folder(tree))).facts()


def obj(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False, **more}


def _modelpack_schema() -> dict[str, Any]:
    """config-schema.json of model-spec v0.0.7, retyped."""
    text: dict[str, Any] = {"type": "string"}
    texts: dict[str, Any] = {"type": "array", "items": text}
    modality = {"enum": ["text", "image", "audio", "video", "embedding", "other"]}
    modalities: dict[str, Any] = {"type": "array", "items": modality}
    boolean = {"type": "boolean"}
    descriptor: dict[str, Any] = dict.fromkeys(
        ["createdAt", "family", "docURL", "sourceURL", "version", "revision", "vendor", "title", "description"], text
    )
    descriptor |= dict.fromkeys(["authors", "datasetsURL", "licenses"], texts) | {
        "name": {"type": "string", "minLength": 1}
    }
    capabilities = {"inputTypes": modalities, "outputTypes": modalities, "knowledgeCutoff": text, "reasoning": boolean}
    capabilities |= {"toolUsage": boolean, "reward": boolean}
    capabilities["languages"] = {"type": "array", "items": {"type": "string", "pattern": "^[a-z]{2}$"}}
    config: dict[str, Any] = dict.fromkeys(["architecture", "format", "paramSize", "precision", "quantization"], text)
    modelfs = {"type": {"enum": ["layers"]}, "diffIds": {"type": "array", "items": text, "minItems": 1}}
    return obj(
        {
            "descriptor": obj(descriptor),
            "config": obj(config | {"capabilities": obj(capabilities)}),
            "modelfs": obj(modelfs, required=["type", "diffIds"]),
        },
        required=["descriptor", "config", "modelfs"],
    )


def check_modelpack(facts: ModelFacts) -> dict[str, Any]:
    config = facts.modelpack_config(DIFF_IDS)
    jsonschema.validate(config, _modelpack_schema())
    return config


FULL_CARD = """---
license: apache-2.0
language: [en, zh, multilingual]
pipeline_tag: text-generation
library_name: transformers
base_model: org/base
datasets: [org/data, "../etc", glue]
---
# Fine Model

A model that is fine.
"""


def test_everything_known(folder: Folder) -> None:
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
    weights = safetensors_bytes({"w": ("BF16", (40, 50), bytes(4000)), "ids": ("I64", (3,), bytes(24))})
    known = facts(folder, {"config.json": json.dumps(config), "m.safetensors": weights, "README.md": FULL_CARD})
    assert known.annotations() == {
        "dev.modelcar.model.architecture": "LlamaForCausalLM",
        "dev.modelcar.model.format": "safetensors",
        "dev.modelcar.model.parameters": "2000",
        "dev.modelcar.model.precision": "bfloat16",
        "org.opencontainers.image.description": "A model that is fine.",
        "org.opencontainers.image.licenses": "Apache-2.0",
        "org.opencontainers.image.title": "Fine Model",
    }
    assert known.library == "transformers"
    assert known.base_models == ("org/base",)
    assert check_modelpack(known) == {
        "descriptor": {
            "family": "llama",
            "datasetsURL": ["https://huggingface.co/datasets/org/data", "https://huggingface.co/datasets/glue"],
            "licenses": ["Apache-2.0"],
            "title": "Fine Model",
            "description": "A model that is fine.",
        },
        "config": {
            "architecture": "LlamaForCausalLM",
            "format": "safetensors",
            "paramSize": "2K",
            "precision": "bfloat16",
            "capabilities": {"inputTypes": ["text"], "outputTypes": ["text"], "languages": ["en", "zh"]},
        },
        "modelfs": {"type": "layers", "diffIds": DIFF_IDS},
    }


def test_hub_snapshot_says_where_it_came_from(folder: Folder, small_model: Tree) -> None:
    commit = "0123456789" * 4
    root = folder({f"snapshots/{commit}/{p}": c for p, c in small_model.items()}, name="models--org--name")
    known = open_checkpoint(str(root)).facts()
    assert known.name == "name"
    assert known.vendor == "org"
    annotations = known.annotations()
    assert annotations["dev.modelcar.source.repo"] == "org/name"
    assert annotations["dev.modelcar.source.revision"] == commit
    assert annotations["org.opencontainers.image.url"] == "https://huggingface.co/org/name"
    assert annotations["org.opencontainers.image.source"] == f"https://huggingface.co/org/name/tree/{commit}"
    assert annotations["org.opencontainers.image.revision"] == commit
    assert check_modelpack(known)["descriptor"]["name"] == "name"


def test_nothing_known(folder: Folder) -> None:
    known = facts(folder, {"notes.txt": "x"})
    assert known.annotations() == {}
    assert check_modelpack(known)["descriptor"] == {}


def test_no_host_or_path_leaks(folder: Folder, small_model: Tree) -> None:
    one = facts(folder, small_model)
    root = folder(small_model, name="another-name")
    assert open_checkpoint(str(root)).facts() == one
    assert "another-name" not in str(one)


def test_gguf(folder: Folder) -> None:
    pairs = {
        "general.architecture": ("string", "qwen3"),
        "general.name": ("string", "Qwen3 0.6B"),
        "general.license": ("string", "apache-2.0"),
        "general.file_type": ("uint32", 15),
        "general.author": ("string", "Some\nBody"),
        "general.organization": ("string", "Qwen"),
        "general.version": ("string", "v1.0"),
        "general.languages": ("[string]", ["en"]),
    }
    known = facts(folder, {"m.gguf": gguf_bytes(pairs, {"w": (12, (256, 4), 576)})})
    assert (known.name, known.architecture, known.family) == ("Qwen3 0.6B", "qwen3", "qwen3")
    assert (known.parameter_count, known.quantization, known.precision, known.format) == (1024, "Q4_K_M", None, "gguf")
    assert (known.licenses, known.authors, known.vendor, known.version) == (
        ("Apache-2.0",),
        ("Some Body",),
        "Qwen",
        "v1.0",
    )
    assert known.languages == ("en",)
    check_modelpack(known)


def test_several_quantisations_claim_only_what_they_share(folder: Folder) -> None:
    def one(file_type: int, kind: int, size: int) -> bytes:
        pairs = {"general.architecture": ("string", "llama"), "general.file_type": ("uint32", file_type)}
        return gguf_bytes(pairs, {"w": (kind, (256,), size)})

    projector = gguf_bytes({"general.architecture": ("string", "clip")}, {"v": (1, (7,), 14)})
    known = facts(folder, {"a.gguf": one(15, 12, 144), "b.gguf": one(18, 14, 210), "mmproj.gguf": projector})
    assert (known.parameter_count, known.quantization, known.architecture) == (256, None, "llama")


def test_split_gguf_is_one_model(folder: Folder) -> None:
    pairs = {"general.architecture": ("string", "llama"), "general.file_type": ("uint32", 1)}
    known = facts(
        folder,
        {
            "m-00001-of-00002.gguf": gguf_bytes(pairs, {"a": (1, (100,), 200)}),
            "m-00002-of-00002.gguf": gguf_bytes({"split.no": ("uint16", 1)}, {"b": (1, (50,), 100)}),
        },
    )
    assert (known.parameter_count, known.precision, known.quantization) == (150, "float16", None)
    assert known.architecture == "llama"


@pytest.mark.parametrize(
    ("tree", "count"),
    [
        ({"model.safetensors": ("a",), "model.fp16.safetensors": ("a",)}, 6),
        ({"model.safetensors": ("a",), "consolidated.safetensors": ("other",)}, 6),
        ({"one.safetensors": ("a",), "two.safetensors": ("b",)}, 12),
        ({"one.safetensors": ("a",), "two.safetensors": ("a",)}, None),
        ({"model.safetensors": ("a",), "checkpoint-5/model.safetensors": ("a",)}, 6),
        ({"x/model.safetensors": ("a",), "y/model.safetensors": ("a",)}, None),
        ({"x/model.safetensors": ("a",)}, 6),
    ],
)
def test_only_one_copy_of_a_model_is_counted(
    tree: dict[str, tuple[str, ...]], count: int | None, folder: Folder
) -> None:
    assert facts(folder, {path: simple_safetensors(*names) for path, names in tree.items()}).parameter_count == count


def test_diffusers_pipeline_adds_up_its_components(folder: Folder) -> None:
    known = facts(
        folder,
        {
            "model_index.json": '{"_class_name": "FluxPipeline"}',
            "vae/w.safetensors": simple_safetensors("a"),
            "unet/w.safetensors": simple_safetensors("a", "b"),
            "unet/w.fp16.safetensors": simple_safetensors("a", "b", dtype="F16"),
        },
    )
    assert (known.parameter_count, known.architecture, known.precision) == (18, "FluxPipeline", "float32")


@pytest.mark.parametrize(
    ("quantization", "tensors", "count", "precision"),
    [
        (
            {"quant_method": "gptq", "bits": 4},
            {
                "l.qweight": ("I32", (8, 16), bytes(512)), "l.qzeros": ("I32", (1, 2), bytes(8)),
                "l.scales": ("F16", (1, 16), bytes(32)), "norm": ("F16", (16,), bytes(32)),
            },
            8 * 16 * 8 + 16, "float16",
        ),
        (
            {"quant_method": "bitsandbytes", "load_in_4bit": True},
            {
                "w": ("U8", (64, 1), bytes(64)), "w.absmax": ("F32", (2,), bytes(8)),
                "w.quant_state.bitsandbytes__nf4": ("U8", (9,), bytes(9)), "n": ("BF16", (4,), bytes(8)),
            },
            132, "bfloat16",
        ),
        (
            {"quant_method": "fp8"},
            {"w": ("F8_E4M3", (10, 10), bytes(100)), "w.weight_scale_inv": ("F32", (1,), bytes(4))},
            100, "float8_e4m3",
        ),
        (
            {"quant_method": "mxfp4"},
            {
                "e.w_blocks": ("U8", (2, 16), bytes(32)), "e.w_scales": ("U8", (2,), bytes(2)),
                "n": ("BF16", (4,), bytes(8)),
            },
            68, "bfloat16",
        ),
        ({"quant_method": "brand-new"}, {"w": ("U8", (4,), bytes(4))}, None, None),
        ({"quant_method": 7}, {"w": ("F32", (1,), bytes(4))}, 1, "float32"),
    ],
)  # fmt: skip
def test_quantised_weights(
    quantization: dict[str, Any],
    tensors: dict[str, tuple[str, tuple[int, ...], bytes]],
    count: int | None,
    precision: str | None,
    folder: Folder,
) -> None:
    config = json.dumps({"text_config": {"quantization_config": quantization}})
    known = facts(folder, {"config.json": config, "m.safetensors": safetensors_bytes(tensors)})
    method = quantization["quant_method"]
    assert known.quantization == (method if isinstance(method, str) else None)
    assert (known.parameter_count, known.precision) == (count, precision)


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        ({"adapter_config.json": "{}", "adapter_model.safetensors": simple_safetensors("a")}, True),
        ({"adapter_config.json": "{}", "adapter_model.bin": b"PK\x03\x04"}, True),
        ({"pytorch_lora_weights.safetensors": simple_safetensors("a")}, True),
        ({"x.gguf": gguf_bytes({"general.type": ("string", "adapter")})}, True),
        ({"adapter_model.safetensors": simple_safetensors("a"), "model.safetensors": simple_safetensors("b")}, False),
        ({"model.safetensors": simple_safetensors("a")}, False),
        ({"adapter_config.json": "{}"}, False),
    ],
)
def test_adapters(tree: Tree, expected: bool, folder: Folder) -> None:
    assert open_checkpoint(str(folder(tree))).is_adapter is expected


@pytest.mark.parametrize(
    ("base", "expected"), [("org/base", ("org/base",)), ("/home/me/model", ()), ("./x", ()), (7, ()), ("../a/b", ())]
)
def test_base_of_an_adapter(base: object, expected: tuple[str, ...], folder: Folder) -> None:
    tree: Tree = {"adapter_config.json": json.dumps({"base_model_name_or_path": base}), "adapter_model.bin": "x"}
    assert facts(folder, tree).base_models == expected


@pytest.mark.parametrize(
    "config",
    [
        '{"architectures": []}',
        '{"architectures": [7]}',
        '{"architectures": "X"}',
        '{"model_type": null}',
        '\ufeff{"a": NaN}',
    ],
)
def test_odd_configuration_says_nothing(config: str, folder: Folder) -> None:
    known = facts(folder, {"config.json": config})
    assert (known.architecture, known.family) == (None, None)


def test_broken_configuration(folder: Folder) -> None:
    with pytest.raises(MalformedFile, match=r"config\.json: is not valid JSON"):
        facts(folder, {"config.json": "{,}"})


def test_broken_card_is_noted(folder: Folder) -> None:
    known = facts(folder, {"README.md": "---\nlicense: [\n---\n# Name\n"})
    assert known.notes == ("README.md: its front matter key 'license' is not readable",)
    assert known.title == "Name"


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (None, None), (0, None), (99, None), (100, "0.1K"), (1500, "1.5K"), (22_713_216, "22.7M"),
        (268_098_176, "268.1M"),
        (999_949_999, "999.9M"), (999_960_000, "1B"), (6_738_415_616, "6.7B"), (7_000_000_000, "7B"),
        (1_000_000_000_000, "1T"), (1026 * 10**9, "1T"), (2 * 10**18, "2000Q"),
    ],
)  # fmt: skip
def test_parameter_format(count: int | None, expected: str | None) -> None:
    assert format_parameters(count) == expected
