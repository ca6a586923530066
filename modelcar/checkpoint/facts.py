"""What is known about a model, and the two forms in which an image tells it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ModelFacts", "format_parameters", "modalities_of"]

_HUB = "https://huggingface.co"
_REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")
_LANGUAGE = re.compile(r"[a-z]{2}")

# pipeline tag of the Hub: what goes in, what comes out, in ModelPack's words
_MODALITIES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "any-to-any": (("text", "image", "audio", "video"), ("text", "image", "audio", "video")),
    "audio-classification": (("audio",), ("other",)),
    "audio-text-to-text": (("audio", "text"), ("text",)),
    "audio-to-audio": (("audio",), ("audio",)),
    "automatic-speech-recognition": (("audio",), ("text",)),
    "document-question-answering": (("image", "text"), ("text",)),
    "feature-extraction": (("text",), ("embedding",)),
    "fill-mask": (("text",), ("text",)),
    "image-classification": (("image",), ("other",)),
    "image-feature-extraction": (("image",), ("embedding",)),
    "image-segmentation": (("image",), ("image",)),
    "image-text-to-text": (("image", "text"), ("text",)),
    "image-to-image": (("image",), ("image",)),
    "image-to-text": (("image",), ("text",)),
    "image-to-video": (("image",), ("video",)),
    "object-detection": (("image",), ("other",)),
    "question-answering": (("text",), ("text",)),
    "sentence-similarity": (("text",), ("embedding",)),
    "summarization": (("text",), ("text",)),
    "text-classification": (("text",), ("other",)),
    "text-generation": (("text",), ("text",)),
    "text-to-audio": (("text",), ("audio",)),
    "text-to-image": (("text",), ("image",)),
    "text-to-speech": (("text",), ("audio",)),
    "text-to-video": (("text",), ("video",)),
    "token-classification": (("text",), ("other",)),
    "translation": (("text",), ("text",)),
    "video-text-to-text": (("video", "text"), ("text",)),
    "visual-question-answering": (("image", "text"), ("text",)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """A function of the checkpoint's files and its commit alone. What is not known is `None` or empty.

    Attributes:
        name: of the repository, or from the GGUF header; never that of a folder on somebody's disk.
        architecture: the class that loads it (`LlamaForCausalLM`), or the GGUF architecture.
        family: the model type (`llama`).
        parameter_count: trained numbers.
        precision: what most floating point weights are stored as, in ModelPack's words: `bfloat16`.
        quantization: `gptq`, `fp8`, `Q4_K_M`, ….
        format: of most weight bytes: `safetensors`, `gguf`, `pickle`, ….
        licenses: SPDX expressions.
        revision: the commit on the Hub.
        notes: what could not be made sense of, for people.
    """

    name: str | None = None
    title: str | None = None
    description: str | None = None
    family: str | None = None
    architecture: str | None = None
    parameter_count: int | None = None
    precision: str | None = None
    quantization: str | None = None
    format: str | None = None
    licenses: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    base_models: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    authors: tuple[str, ...] = ()
    vendor: str | None = None
    library: str | None = None
    pipeline_tag: str | None = None
    repo: str | None = None
    revision: str | None = None
    version: str | None = None
    url: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def source_url(self) -> str | None:
        """The page of exactly this commit."""
        return f"{self.url}/tree/{self.revision}" if self.url and self.revision else self.url

    def annotations(self) -> dict[str, str]:
        """OCI annotations, sorted, only what is known."""
        image, ours = "org.opencontainers.image.", "dev.modelcar."
        known = {
            f"{image}title": self.title or self.name,
            f"{image}description": self.description,
            f"{image}licenses": " AND ".join(self.licenses),
            f"{image}authors": ", ".join(self.authors),
            f"{image}vendor": self.vendor,
            f"{image}url": self.url,
            f"{image}source": self.source_url,
            f"{image}revision": self.revision,
            f"{image}version": self.version,
            f"{ours}source.repo": self.repo,
            f"{ours}source.revision": self.revision,
            f"{ours}model.architecture": self.architecture,
            f"{ours}model.parameters": str(self.parameter_count) if self.parameter_count else None,
            f"{ours}model.precision": self.precision,
            f"{ours}model.quantization": self.quantization,
            f"{ours}model.format": self.format,
        }
        return {key: value for key, value in sorted(known.items()) if value}

    def modelpack_config(self, diff_ids: Sequence[str]) -> dict[str, Any]:
        """ModelPack's model configuration (model-spec v0.0.7), with `diff_ids` of the layers from first to last.

        There is no `createdAt`: nothing in a checkpoint says when it was made, and a clock would change the digest.
        """
        descriptor = {
            "authors": list(self.authors),
            "family": self.family,
            "name": self.name,
            "docURL": self.url,
            "sourceURL": self.source_url,
            "datasetsURL": [f"{_HUB}/datasets/{name}" for name in self.datasets if _REPO.fullmatch(name)],
            "version": self.version,
            "revision": self.revision,
            "vendor": self.vendor,
            "licenses": list(self.licenses),
            "title": self.title,
            "description": self.description,
        }
        config = {
            "architecture": self.architecture,
            "format": "pt" if self.format == "pickle" else self.format,
            "paramSize": format_parameters(self.parameter_count),
            "precision": self.precision,
            "quantization": self.quantization,
            "capabilities": self._capabilities(),
        }
        return {
            "descriptor": {key: value for key, value in descriptor.items() if value},
            "config": {key: value for key, value in config.items() if value},
            "modelfs": {"type": "layers", "diffIds": list(diff_ids)},
        }

    def _capabilities(self) -> dict[str, Any]:
        inputs, outputs = modalities_of(self.pipeline_tag)
        languages = [language for language in self.languages if _LANGUAGE.fullmatch(language)]
        known = {"inputTypes": list(inputs), "outputTypes": list(outputs), "languages": languages}
        return {key: value for key, value in known.items() if value}


def modalities_of(pipeline_tag: str | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What goes in and what comes out of a model for this task of the Hub; empty where that is not known."""
    return _MODALITIES.get(pipeline_tag or "", ((), ()))


def format_parameters(count: int | None) -> str | None:
    """A number of parameters in ModelPack's form: `22.7M`, `7B`. `None` below a hundred, which it cannot express."""
    if count is None or count < 100:
        return None
    for exponent, prefix in ((3, "K"), (6, "M"), (9, "B"), (12, "T"), (15, "Q")):
        tenths = (count * 10 + 10**exponent // 2) // 10**exponent
        if tenths < 10_000 or prefix == "Q":
            whole, tenth = divmod(tenths, 10)
            return f"{whole}.{tenth}{prefix}" if tenth else f"{whole}{prefix}"
    return None
