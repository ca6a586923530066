"""safetensors, GGUF, tokenizers and pictures."""

# mypy: disable-error-code="import-not-found, import-untyped"
from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import gguf
import numpy as np
import sentencepiece
import torch
from PIL import Image
from safetensors.numpy import save_file as save_numpy
from safetensors.torch import save_file as save_torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

TEXT: Final = [
    f"the {colour} {animal} {verb}s over {n} fences"
    for colour in ("red", "grey")
    for animal in ("fox", "hen")
    for verb in ("run", "jump", "walk")
    for n in range(6)
]


def _safetensors(folder: Path) -> None:
    kinds = ("float32", "float16", "bfloat16", "float8_e4m3fn", "int64", "int8", "bool")
    save_torch(
        {kind: torch.ones(2, 3).to(getattr(torch, kind)) for kind in kinds},
        folder / "model.safetensors",
        {"format": "pt"},
    )
    save_numpy({"empty": np.zeros((0, 3), np.float32), "scalar": np.array(1.5)}, folder / "extra.safetensors")


def _gguf(folder: Path) -> None:
    writer = gguf.GGUFWriter(folder / "model.gguf", "llama")
    writer.add_name("tiny")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(["<s>", "</s>", "fox", "hen"])
    writer.add_token_scores([0.0, 0.0, -1.0, -2.0])
    writer.add_token_types([3, 3, 1, 1])
    writer.add_chat_template("{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] | trim }}\n{% endfor %}")
    writer.add_array("general.tags", ["text-generation", "tiny"])
    writer.add_float32("training.loss", 0.25)
    writer.add_tensor("token_embd.weight", np.arange(32, dtype=np.float32).reshape(4, 8))
    writer.add_tensor("output.weight", np.ones((3, 5), dtype=np.float16))
    _finish(writer)


def _quantized(folder: Path) -> None:
    writer = gguf.GGUFWriter(folder / "model-q8_0.gguf", "llama")
    writer.add_custom_alignment(64)
    for kind in (gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q4_0, gguf.GGMLQuantizationType.BF16):
        data = gguf.quants.quantize(np.linspace(-1, 1, 256, dtype=np.float32).reshape(4, 64), kind)
        writer.add_tensor(f"blk.0.{kind.name.lower()}.weight", data, raw_dtype=kind)
    _finish(writer)


def _finish(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _bpe(folder: Path) -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    tokenizer.train_from_iterator(
        TEXT, trainers.BpeTrainer(vocab_size=300, special_tokens=["<s>", "</s>"], show_progress=False)
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    tokenizer.model.save(str(folder))


def _wordpiece(folder: Path) -> None:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(
        TEXT, trainers.WordPieceTrainer(vocab_size=80, special_tokens=["[UNK]", "[CLS]"], show_progress=False)
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    tokenizer.model.save(str(folder))


def _unigram(folder: Path) -> None:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(
        TEXT, trainers.UnigramTrainer(vocab_size=60, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False)
    )
    tokenizer.save(str(folder / "tokenizer.json"))


def _sentencepiece(kind: str, size: int) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        options = {"model_type": kind, "vocab_size": size, "minloglevel": 2, "num_threads": 1}
        with contextlib.chdir(folder):  # the prefix goes into the model
            sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(TEXT), model_prefix="tokenizer", **options)

    return make


def _pictures(folder: Path) -> None:
    picture = Image.linear_gradient("L").resize((24, 24)).convert("RGB")
    picture.save(folder / "logo.png", optimize=True)
    picture.save(folder / "sample.jpg", quality=60)
    picture.convert("P").save(folder / "steps.gif")
    picture.save(folder / "sample.webp")


MAKERS: Final[dict[str, Callable[[Path], None]]] = {
    "safetensors": _safetensors,
    "gguf": _gguf,
    "gguf-quantized": _quantized,
    "tokenizer-bpe": _bpe,
    "tokenizer-wordpiece": _wordpiece,
    "tokenizer-unigram": _unigram,
    "tokenizer-sentencepiece-unigram": _sentencepiece("unigram", 36),
    "tokenizer-sentencepiece-bpe": _sentencepiece("bpe", 60),
    "pictures": _pictures,
}
