"""Whether a model index says the truth about the layers: over every byte, file, header and tensor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Final

from modelcar.checkpoint.formats.gguf import read_gguf
from modelcar.checkpoint.formats.header import Header
from modelcar.checkpoint.formats.safetensors import read_safetensors
from modelcar.checkpoint.formats.sniff import detect_format
from modelcar.checkpoint.roles import role_of
from modelcar.errors import DigestMismatch, MalformedFile
from modelcar.layers.index import IndexedFile, IndexedLayer
from modelcar.layers.tar import Payload
from modelcar.oci import Descriptor, Digest
from modelcar.scanning.content import Content
from modelcar.scanning.findings import Finding, shown
from modelcar.scanning.image_rules import DISAGREES
from modelcar.scanning.layers import digest_pieces

__all__ = ["compare_layer", "compare_packed"]

_HEAD: Final = 512
_MOST_PROBLEMS: Final = 20  # of one layer, that are reported
_READERS: Final = {"safetensors": read_safetensors, "gguf": read_gguf}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """The index's words about a layer, and what is there."""

    indexed: IndexedLayer
    content: Content
    payloads: Mapping[str, Payload]
    root: str


def compare_layer(
    indexed: IndexedLayer, content: Content, payloads: Mapping[str, Payload], chunks: tuple[Digest, ...], root: str
) -> list[Finding]:
    """What `indexed` says wrongly of a layer.

    Args:
        payloads: where its files lie, by their path in the image.
        chunks: digests of its bytes, cut as the index cuts them.
        root: the index's folder for all paths, such as `/models`.
    """
    if indexed.blob is not None:
        return [_disagrees(indexed, "it says that the layer is packed, which it is not")]
    return _compare(indexed, content, payloads, chunks, root)


def _compare(
    indexed: IndexedLayer, content: Content, payloads: Mapping[str, Payload], chunks: tuple[Digest, ...], root: str
) -> list[Finding]:
    layer = _Layer(indexed=indexed, content=content, payloads=payloads, root=root.strip("/"))
    problems = islice(chain(_chunk_problems(indexed, content.size, chunks), _file_problems(layer)), _MOST_PROBLEMS)
    return [_disagrees(indexed, problem) for problem in problems]


def compare_packed(
    indexed: IndexedLayer, layer: Descriptor, tar: Content, payloads: Mapping[str, Payload], root: str
) -> list[Finding]:
    """As `compare_layer`, for a layer whose blob decompresses to `tar`."""
    if indexed.blob is None or indexed.blob.size != layer.size:
        return [_disagrees(indexed, "it does not say how the layer is packed")]
    try:
        said = Descriptor(media_type=indexed.media_type, digest=indexed.digest, size=indexed.size)
        chunks = digest_pieces(said, tar, [(c.offset, c.size) for c in indexed.chunks], lambda _: None)
    except DigestMismatch:
        return [_disagrees(indexed, f"it names what comes out of the layer {indexed.digest}, which it is not")]
    return _compare(indexed, tar, payloads, chunks, root)


def _disagrees(indexed: IndexedLayer, problem: str) -> Finding:
    return Finding(rule=DISAGREES, path=indexed.listed_as.short, detail=problem)


def _chunk_problems(indexed: IndexedLayer, size: int, chunks: tuple[Digest, ...]) -> Iterator[str]:
    if indexed.size != size:
        yield f"it gives the layer {indexed.size} bytes; it has {size}"
        return
    if len(indexed.chunks) != len(chunks):
        yield "it cuts the layer in another way than another index of the same image"
        return
    for claimed, found in zip(indexed.chunks, chunks, strict=True):
        if claimed.digest != found:
            yield f"the chunk at byte {claimed.offset} has another digest"
            return


def _file_problems(layer: _Layer) -> Iterator[str]:
    claimed = {f"{layer.root}/{file.path}": file for file in layer.indexed.files}
    for path in layer.payloads.keys() - claimed.keys():
        yield f"it leaves {shown(path)} out"
    for path, file in claimed.items():
        payload = layer.payloads.get(path)
        if payload is None:
            yield f"it lists {shown(path)}, which is not there"
        elif (payload.offset, payload.size) != (file.offset, file.size):
            yield f"it places {shown(path)} elsewhere"
        else:
            yield from _claims_problems(file, layer.content.part(payload.offset, payload.size))


def _claims_problems(file: IndexedFile, content: Content) -> Iterator[str]:
    name = shown(file.path)
    detected = detect_format(file.path.rpartition("/")[2], content.read(0, _HEAD), content.size)
    if file.format != detected:
        yield f"it calls {name} {file.format or 'a file without a format'}; it is {detected or 'one'}"
    if file.role != role_of(file.path, detected):
        yield f"it gives {name} the role {shown(file.role)}"
    if file.digest is not None and file.digest != _digest(content, file.digest):
        yield f"it gives {name} another digest"
    if file.header_size is None and not file.tensors:
        return
    header = _header(detected, content, file.path)
    if header is None:
        yield f"it lists tensors of {name}, which has no header that can be read"
    elif (header.size, header.raw) != (file.header_size, file.header):
        yield f"it gives {name} another header"
    elif header.tensors != file.tensors:
        yield f"it lists other tensors of {name}"


def _header(format_: str | None, content: Content, path: str) -> Header | None:
    reader = _READERS.get(format_ or "")
    try:
        return reader(content.read, content.size, path) if reader else None
    except MalformedFile:
        return None


def _digest(content: Content, like: Digest) -> Digest:
    whole = like.hasher()
    for piece in content.pieces():
        whole.update(piece)
    return Digest(like.algorithm, whole.hexdigest())
