"""How programs read a layer: as a tar, or as a single file by some name. One blob may be read in several ways."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from modelcar.oci import Descriptor, media_types

__all__ = ["Form", "Reading", "is_ollamas", "is_relative", "reading_of", "titles"]

_OLLAMA: Final = "application/vnd.ollama."
_NONDISTRIBUTABLE: Final = "application/vnd.oci.image.layer.nondistributable.v1.tar"
_FOREIGN: Final = "application/vnd.docker.image.rootfs.foreign.diff.tar"
_TARS: Final = media_types.UNCOMPRESSED_LAYERS | {_NONDISTRIBUTABLE, _FOREIGN}
_GZIPPED: Final = frozenset(
    {media_types.LAYER_TAR_GZIP, media_types.DOCKER_LAYER_GZIP, f"{_NONDISTRIBUTABLE}+gzip", f"{_FOREIGN}.gzip"}
)
_MODELPACK: Final = re.compile(r"application/vnd\.cncf\.model\.[a-z.]+\.v1\.tar(\+gzip)?")
_TITLES: Final = ("org.cncf.model.filepath", "org.opencontainers.image.title")
# What a layer is called that is a single file, by tools that know its type: Ollama's and Docker's models.
_NAMES: Final[Mapping[str, str]] = {
    f"{_OLLAMA}image.model": "model.gguf",
    f"{_OLLAMA}image.adapter": "adapter.gguf",
    f"{_OLLAMA}image.projector": "projector.gguf",
    f"{_OLLAMA}image.template": "template.txt",
    f"{_OLLAMA}image.system": "system.txt",
    f"{_OLLAMA}image.license": "LICENSE",
    f"{_OLLAMA}image.params": "params.json",
    f"{_OLLAMA}image.messages": "messages.json",
    "application/vnd.docker.ai.gguf.v3": "model.gguf",
    "application/vnd.docker.ai.safetensors": "model.safetensors",
    "application/vnd.docker.ai.license": "LICENSE",
    "application/vnd.docker.ai.chat.template.jinja": "chat_template.jinja",
}
_MOST: Final = 1024  # characters of a title


class Form(StrEnum):
    """What a layer's bytes are to who reads it."""

    TAR = "tar"
    GZIPPED_TAR = "gzipped tar"
    FILE = "file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One way to read a layer. `names` are those that a single file goes by; a tar has none."""

    form: Form
    names: tuple[str, ...] = ()


def reading_of(layer: Descriptor) -> Reading:
    """How programs read `layer`, by its media type and its annotations."""
    kind = layer.media_type
    modelpack = _MODELPACK.fullmatch(kind)
    if kind in _GZIPPED or (modelpack and modelpack[1]):
        return Reading(form=Form.GZIPPED_TAR)
    if kind in _TARS or modelpack:
        return Reading(form=Form.TAR)
    by_type = [_NAMES[kind]] if kind in _NAMES else []
    names = dict.fromkeys([*map(_within, titles(layer)), *by_type])
    return Reading(form=Form.FILE, names=tuple(names) or (_nameless(layer),))


def titles(layer: Descriptor) -> list[str]:
    """What the annotations of a layer call the file that it is, or that is in it."""
    return [title for key in _TITLES if (title := layer.annotations.get(key))]


def is_ollamas(layer: Descriptor) -> bool:
    """Whether it is a part of a model of Ollama's, whose manifests look like those of container images."""
    return layer.media_type.startswith(_OLLAMA) and layer.media_type in _NAMES


def is_relative(title: str) -> bool:
    """Whether every system takes it for the same path within a folder."""
    parts = title.split("/")
    plain = not any(part in ("", ".", "..") for part in parts) and not set("\\:\0") & set(title)
    return plain and len(title) <= _MOST


def _within(title: str) -> str:
    """The path below the model's folder that `title` comes to."""
    return title if is_relative(title) else re.split(r"[/\\:\0]", title)[-1][-_MOST:] or "file"


def _nameless(layer: Descriptor) -> str:
    return f"{layer.digest.short}{'.json' if layer.media_type.endswith('+json') else ''}"
