"""What a file is there for, from its name and format. The conventions are the Hub's and those of transformers."""

from __future__ import annotations

import re

from modelcar.checkpoint.file import Role

__all__ = ["role_of"]

_WEIGHT_FORMATS = frozenset(
    {
        "safetensors", "gguf", "ggml", "pickle", "onnx", "hdf5", "keras", "numpy", "tflite", "executorch",
        "tensorflow", "flax", "coreml", "tensorrt", "openvino", "tar",
    }
)  # fmt: skip
_NATIVE_FORMATS = frozenset({"elf", "pe", "mach-o"})
_WEIGHT_ENDINGS = (".h5", ".tflite", ".pte", ".nemo", ".ot", ".gguf", ".npy", ".npz", ".mlpackage")
_CODE_ENDINGS = (
    ".py", ".pyc", ".ipynb", ".sh", ".js", ".lua", ".c", ".cc", ".cpp", ".cu", ".h", ".rs", ".go",
    ".so", ".dll", ".dylib", ".wasm",
)  # fmt: skip
_CONFIG_ENDINGS = (".json", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".conf", ".gin")

# what a training run leaves beside the weights
_TRAINING_STATE = re.compile(
    r"(training_args|optimizer|scheduler|scaler|rng_state)(_\d+)*\.(bin|pt|pth)"
    r"|trainer_state\.json|.*_optim_states\.pt|random_states_\d+\.pkl"
)
_TOKENIZER = re.compile(
    r"(tokenizer|tokenization|vocab|merges|special_tokens_map|added_tokens|sentencepiece|spiece|tekken|chat_template"
    r"|bpe)[^/]*\.(json|jsonl|txt|model|spm|jinja|bin|codes|tiktoken|vocab)(\.v\d+)?"
    r"|.*\.(tiktoken|spm|jinja|bpe\.model|vocab)"
)  # fmt: skip
_CARD = re.compile(r"(readme|model_?-?card)([._-].*)?(\.(md|rst|txt))?")
_LICENSE = re.compile(
    r"((un)?licen[cs]e|copying|notice|use_policy|terms(_of_use)?|.*[._-]licen[cs]e|gemma_terms)([._-].*)?(\.(md|txt|html|pdf))?"
)


def role_of(path: str, format: str | None) -> Role:  # noqa: A002  # the field's word
    """The role of the file at `path` in the checkpoint, whose format `detect_format` told."""
    name = path.rpartition("/")[2].lower()
    if format in _NATIVE_FORMATS or name.endswith(_CODE_ENDINGS):
        return Role.CODE
    if _TRAINING_STATE.fullmatch(name):
        return Role.OTHER
    if _TOKENIZER.fullmatch(name) and format not in ("safetensors", "gguf"):
        return Role.TOKENIZER
    if format in _WEIGHT_FORMATS or name.endswith(_WEIGHT_ENDINGS):
        return Role.WEIGHT
    if _LICENSE.fullmatch(name):
        return Role.LICENSE
    if _CARD.fullmatch(name):
        return Role.CARD
    return Role.CONFIG if name.endswith(_CONFIG_ENDINGS) else Role.OTHER
