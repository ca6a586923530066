"""Formats and roles."""

from __future__ import annotations

import pytest

from modelcar.checkpoint import Role
from modelcar.checkpoint.formats.sniff import detect_format
from modelcar.checkpoint.roles import role_of
from tests.support.weights import gguf_bytes, simple_safetensors


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("model.safetensors", simple_safetensors("a"), "safetensors"),
        ("model.bin", simple_safetensors("a"), "safetensors"),
        ("model.safetensors", b"anything", "safetensors"),
        ("model.safetensors", b"\x80\x02" + bytes(6) + b'{"a": 1}'.ljust(640), "safetensors"),
        ("model.safetensors", gguf_bytes(), "gguf"),
        ("x", gguf_bytes(), "gguf"),
        ("pytorch_model.bin", b"PK\x03\x04", "pickle"),
        ("model.keras", b"PK\x03\x04", "keras"),
        ("arrays.npz", b"PK\x03\x04", "numpy"),
        ("model.safetensors", b"PK\x03\x04", "zip"),
        ("config.json", b"\x80\x04\x95", "pickle"),
        ("model.pt", b"\x80\x02\x8a\nl\xfc\x9cF", "pickle"),
        ("model.pkl", b"(lp0\n.", "pickle"),
        ("tf_model.h5", b"\x89HDF\r\n\x1a\n", "hdf5"),
        ("a.npy", b"\x93NUMPY\x01", "numpy"),
        ("model.onnx", b"\x08\x07", "onnx"),
        ("model.onnx_data", b"", "onnx"),
        ("model.tflite", b"\x1c\0\0\0TFL3", "tflite"),
        ("saved_model.pb", b"\x08", "tensorflow"),
        ("flax_model.msgpack", b"\x81", "flax"),
        ("payload.bin", b"7z\xbc\xaf\x27\x1c", "7z"),
        ("libx.txt", b"\x7fELF", "elf"),
        ("model.nemo", b"x" * 257 + b"ustar", "tar"),
        ("old.bin", b"tjgg\x01", "ggml"),
        ("x", b"version https://git-lfs.github.com/spec/v1\n", "git-lfs-pointer"),
        ("config.json", b"{}", None),
        ("config.json", b'{"a": {"b": 1}}', None),
        ("README.md", b"# MZ", None),
        ("vocab.bin", b"text", None),
        ("openvino_model.bin", b"\x00", "openvino"),
        ("empty", b"", None),
        ("empty.bin", b"", "pickle"),
    ],
)
def test_format(name: str, content: bytes, expected: str | None) -> None:
    assert detect_format(name, content[:512], len(content)) == expected


@pytest.mark.parametrize(
    ("path", "found", "expected"),
    [
        ("model.safetensors", "safetensors", Role.WEIGHT),
        ("adapter_model.bin", "pickle", Role.WEIGHT),
        ("onnx/model.onnx", "onnx", Role.WEIGHT),
        ("original/consolidated.00.pth", "pickle", Role.WEIGHT),
        ("tokenizer.gguf", "gguf", Role.WEIGHT),
        ("config.json", None, Role.CONFIG),
        ("model.safetensors.index.json", None, Role.CONFIG),
        ("preprocessor_config.json", None, Role.CONFIG),
        ("adapter_config.json", None, Role.CONFIG),
        ("1_Pooling/config.json", None, Role.CONFIG),
        ("train.yaml", None, Role.CONFIG),
        ("tokenizer.json", None, Role.TOKENIZER),
        ("tokenizer_config.json", None, Role.TOKENIZER),
        ("tokenizer.model", None, Role.TOKENIZER),
        ("tokenizer.model.v3", None, Role.TOKENIZER),
        ("vocab.txt", None, Role.TOKENIZER),
        ("merges.txt", None, Role.TOKENIZER),
        ("special_tokens_map.json", None, Role.TOKENIZER),
        ("chat_template.jinja", None, Role.TOKENIZER),
        ("spiece.model", None, Role.TOKENIZER),
        ("qwen.tiktoken", None, Role.TOKENIZER),
        ("README.md", None, Role.CARD),
        ("README_zh.md", None, Role.CARD),
        ("MODEL_CARD.md", None, Role.CARD),
        ("LICENSE", None, Role.LICENSE),
        ("LICENSE.txt", None, Role.LICENSE),
        ("licence-MIT.md", None, Role.LICENSE),
        ("Notice", None, Role.LICENSE),
        ("USE_POLICY.md", None, Role.LICENSE),
        ("modeling_x.py", None, Role.CODE),
        ("tokenization_x.py", None, Role.CODE),
        ("notebook.ipynb", None, Role.CODE),
        ("weights.bin", "elf", Role.CODE),
        ("training_args.bin", "pickle", Role.OTHER),
        ("optimizer.pt", "pickle", Role.OTHER),
        ("rng_state_0.pth", "pickle", Role.OTHER),
        ("trainer_state.json", None, Role.OTHER),
        ("scheduler/scheduler_config.json", None, Role.CONFIG),
        (".gitattributes", None, Role.OTHER),
        ("picture.png", None, Role.OTHER),
    ],
)
def test_role(path: str, found: str | None, expected: Role) -> None:
    assert role_of(path, found) is expected
