"""What a model consists of, whether it lies in a folder or in an image: its files, their tensors, its configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from modelcar.checkpoint import Checkpoint
from modelcar.checkpoint.formats.documents import read_object
from modelcar.checkpoint.weights import preferred_copies
from modelcar.images.reader import ModelReader
from modelcar.layers.index import IndexedFile
from modelcar.oci import Descriptor, Digest
from modelcar.packaging.headers import check_header

__all__ = ["DescribedModel", "describe_checkpoint", "describe_image", "one_copy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedModel:
    """A model without its weights.

    Attributes:
        files: of an image with their places in its layers; of a folder their offsets are 0.
        config: `config.json`, or what stands for it; empty where there is none.
        copies: weight files that hold the same model once more, in another way. They are no part of `files`.
        layers: of an image, the layer that each file lies in.
    """

    files: tuple[IndexedFile, ...]
    config: Mapping[str, Any]
    copies: tuple[str, ...] = ()
    layers: Mapping[str, Descriptor] = field(default_factory=dict)


def describe_checkpoint(checkpoint: Checkpoint) -> DescribedModel:
    """Reads headers and `config.json`.

    Raises:
        MalformedFile: one of them cannot be read.
        SourceChanged: a file is no longer what it was when the checkpoint was opened.
    """
    headers = checkpoint.headers()
    files = []
    for file in checkpoint.files:
        header = headers.get(file.path)
        files.append(
            IndexedFile(
                path=file.path,
                offset=0,
                size=file.size,
                role=file.role,
                format=file.format,
                digest=Digest("sha256", file.known_sha256) if file.awaited and file.known_sha256 else None,
                header_size=header.size if header else None,
                tensors=header.tensors if header else (),
            )
        )
    config = checkpoint.file("config.json") or checkpoint.file("params.json")
    kept, copies = one_copy(files)
    return DescribedModel(files=kept, config=read_object(config) if config else {}, copies=copies)


def describe_image(reader: ModelReader) -> DescribedModel:
    """Reads `config.json`, and no weights.

    Raises:
        InvalidContent: `config.json` is none, or the index contradicts itself about a header.
        WorldError: the registry or the disk fails.
    """
    for file in reader.files.values():
        if file.tensors and file.header is not None:
            check_header(file, file.header)
    kept, copies = one_copy(reader.files.values())
    layers = {file.path: layer.descriptor for layer in reader.layers for file in layer.files}
    return DescribedModel(files=kept, config=reader.config(), copies=copies, layers=layers)


def one_copy(files: Iterable[IndexedFile]) -> tuple[tuple[IndexedFile, ...], tuple[str, ...]]:
    """Without the weights that a folder holds a second time, and what those are."""
    folders: dict[str, list[str]] = {}
    files = tuple(files)
    for file in files:
        if file.tensors:
            folders.setdefault(file.path.rpartition("/")[0], []).append(file.path)
    chosen = {path for paths in folders.values() for path in preferred_copies(paths)}
    kept = tuple(file for file in files if not file.tensors or file.path in chosen)
    return kept, tuple(file.path for file in files if file.tensors and file.path not in chosen)
