"""What the libraries themselves have written: the committed fixtures, and what is right to say of each."""

from __future__ import annotations

from typing import Final

from tests.corpus.make_fixtures import FIXTURES
from tests.corpus.specimen import CLEAN, NOT_MALICIOUS, UNVERIFIED, Specimen, Verdict

Row = tuple[str, str, frozenset[Verdict]]

# folder -> category, description, expected
KNOWN: Final[dict[str, Row]] = {
    "torch-zip": ("torch", "A state dict", CLEAN),
    "torch-legacy": ("torch", "A state dict in the format before zips", CLEAN),
    "torch-dtypes": ("torch", "A tensor of each type of numbers", CLEAN),
    "torch-dtypes-legacy": ("torch", "A tensor of each type of numbers, before zips", CLEAN),
    "torch-views": ("torch", "Tensors that share storages, transposed, sliced, empty", CLEAN),
    "torch-views-legacy": ("torch", "Tensors that share storages, before zips", CLEAN),
    "torch-nested": ("torch", "A training checkpoint: dictionaries in dictionaries, sizes, types, numbers", CLEAN),
    "torch-optimizer": ("torch", "A model's, an optimizer's and a schedule's state", CLEAN),
    "torch-parameters": ("torch", "Parameters in place of tensors", CLEAN),
    "torch-parameter-legacy": ("torch", "One parameter, before zips", CLEAN),
    "torch-one-tensor": ("torch", "One tensor", CLEAN),
    "torch-list": ("torch", "A list of tensors", CLEAN),
    "torch-protocol-4": ("torch", "A state dict in pickle's protocol 4", CLEAN),
    "torch-protocol-5": ("torch", "A training checkpoint in pickle's protocol 5", CLEAN),
    "torch-sparse": ("torch", "Sparse tensors, whose indices torch does not check", NOT_MALICIOUS),
    "torch-quantized": ("torch", "Tensors quantised by channel", NOT_MALICIOUS),
    "torch-shards": ("torch", "A state dict in two files, with an index", CLEAN),
    "torch-module": ("torch", "A whole module: its classes must be imported", UNVERIFIED),
    "torch-plain-pickle": ("torch", "A state dict by pickle alone, each tensor a torch file in bytes", NOT_MALICIOUS),
    "torchscript": ("torch", "A TorchScript program", UNVERIFIED),
    "torch-exported": ("torch", "A program of torch.export", UNVERIFIED),
    "numpy-npy": ("numpy", "Arrays of every kind but objects", CLEAN),
    "numpy-npz": ("numpy", "Arrays in a zip, stored and deflated", CLEAN),
    "numpy-objects": ("numpy", "An array of objects, which are texts and numbers", NOT_MALICIOUS),
    "numpy-pickle-2": ("numpy", "Arrays and numbers, pickled in protocol 2", CLEAN),
    "numpy-pickle-4": ("numpy", "Arrays and numbers, pickled in protocol 4", CLEAN),
    "numpy-pickle-5": ("numpy", "Arrays, pickled in protocol 5", CLEAN),
    "sklearn-pickle": ("scikit-learn, joblib", "An estimator", UNVERIFIED),
    "sklearn-forest": ("scikit-learn, joblib", "A forest by joblib", UNVERIFIED),
    "sklearn-pipeline": ("scikit-learn, joblib", "A pipeline by joblib, in zlib", UNVERIFIED),
    "sklearn-scaler-xz": ("scikit-learn, joblib", "A scaler by joblib, in xz", UNVERIFIED),
    "joblib-arrays": ("scikit-learn, joblib", "Arrays by joblib", NOT_MALICIOUS),
    "joblib-arrays-zlib": ("scikit-learn, joblib", "Arrays by joblib, in zlib", NOT_MALICIOUS),
    "joblib-arrays-gzip": ("scikit-learn, joblib", "Arrays by joblib, in gzip", NOT_MALICIOUS),
    "keras-sequential": ("keras", "A Sequential model", NOT_MALICIOUS),
    "keras-functional": ("keras", "A functional model with two inputs", NOT_MALICIOUS),
    "keras-h5": ("keras", "A model in the older format", NOT_MALICIOUS),
    "keras-weights": ("keras", "Weights, and the architecture as JSON", NOT_MALICIOUS),
    "onnx": ("onnx", "A small model", NOT_MALICIOUS),
    "onnx-external": ("onnx", "Its weights in a file beside it", NOT_MALICIOUS),
    "onnx-branches": ("onnx", "Graphs within a graph", NOT_MALICIOUS),
    "safetensors": ("safetensors", "Tensors of each type, with metadata", CLEAN),
    "gguf": ("gguf", "A model with a vocabulary and a chat template", CLEAN),
    "gguf-quantized": ("gguf", "Quantised tensors, an alignment of 64", CLEAN),
    "tokenizer-bpe": ("tokenizer", "Byte-level BPE, with vocabulary and merges", CLEAN),
    "tokenizer-wordpiece": ("tokenizer", "WordPiece, with vocabulary", CLEAN),
    "tokenizer-unigram": ("tokenizer", "Unigram", CLEAN),
    "tokenizer-sentencepiece-unigram": ("tokenizer", "SentencePiece, unigram", CLEAN),
    "tokenizer-sentencepiece-bpe": ("tokenizer", "SentencePiece, BPE", CLEAN),
    "pictures": ("text and pictures", "PNG, JPEG, GIF and WebP, as in cards", CLEAN),
}


def specimens() -> list[Specimen]:
    return [_fixture(name, *row) for name, row in KNOWN.items()]


def _fixture(name: str, category: str, description: str, expected: frozenset[Verdict]) -> Specimen:
    folder = FIXTURES / name
    files = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    return Specimen(
        name=f"made-{name}",
        category=category,
        reference="made by the library",
        description=description,
        files=files,
        expected=expected,
    )
