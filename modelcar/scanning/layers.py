"""One layer of an image: what files it holds, what is found in them, and the digests of its bytes."""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from modelcar.checkpoint.card import MAX_CARD
from modelcar.errors import DigestMismatch, InvalidContent
from modelcar.holder import ARCHITECTURES, HOLDER_PATH, holder_bytes
from modelcar.layers.index import INDEX_PATH
from modelcar.layers.members import locate_members
from modelcar.layers.tar import Payload
from modelcar.oci import Descriptor, Digest, media_types
from modelcar.packaging.annotations import LAYER
from modelcar.packaging.plan import MODEL_ROOT, LayerKind
from modelcar.scanning.content import Content, spooled
from modelcar.scanning.files import FileScanner
from modelcar.scanning.findings import Finding, shown
from modelcar.scanning.image_rules import OUTSIDE, TRUSTED, UNREADABLE, WHITEOUT
from modelcar.scanning.limits import Budget, LimitExceeded
from modelcar.scanning.report import FileReport

__all__ = ["ScannedLayer", "digest_pieces", "scan_layer"]


_MODEL: Final = f"{MODEL_ROOT}/"
_TAR_TYPES: Final = re.compile(r"application/vnd\.cncf\.model\.[a-z.]+\.v1\.tar")
_GZIP_TYPES: Final = re.compile(r"application/vnd\.cncf\.model\.[a-z.]+\.v1\.tar\+gzip")
_TITLES: Final = ("org.cncf.model.filepath", "org.opencontainers.image.title")
# What a layer is called that is a single file and says no name: Ollama's and Docker's models.
_NAMES: Final[Mapping[str, str]] = {
    "application/vnd.ollama.image.model": "model.gguf",
    "application/vnd.ollama.image.adapter": "adapter.gguf",
    "application/vnd.ollama.image.projector": "projector.gguf",
    "application/vnd.ollama.image.template": "template.txt",
    "application/vnd.ollama.image.system": "system.txt",
    "application/vnd.ollama.image.license": "LICENSE",
    "application/vnd.ollama.image.params": "params.json",
    "application/vnd.ollama.image.messages": "messages.json",
    "application/vnd.docker.ai.gguf.v3": "model.gguf",
    "application/vnd.docker.ai.safetensors": "model.safetensors",
    "application/vnd.docker.ai.license": "LICENSE",
    "application/vnd.docker.ai.chat.template.jinja": "chat_template.jinja",
}
_PIECE: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannedLayer:
    """What came of one layer.

    `payloads`: where the files of a tar lie, by their path in the image. `card`: the model card in it.
    """

    descriptor: Descriptor
    files: tuple[FileReport, ...] = ()
    findings: tuple[Finding, ...] = ()
    payloads: Mapping[str, Payload] = field(default_factory=dict)
    card: bytes | None = None


def scan_layer(
    descriptor: Descriptor, content: Content, scanner: FileScanner, *, trusted: bool = False
) -> ScannedLayer:
    """Scan the files in a layer. `trusted` ones are only noted."""
    name = descriptor.digest.short
    if trusted:
        return ScannedLayer(descriptor=descriptor, findings=(Finding(rule=TRUSTED, path=name),))
    kind = descriptor.media_type
    if kind in media_types.UNCOMPRESSED_LAYERS or _TAR_TYPES.fullmatch(kind):
        return _scan_tar(descriptor, content, scanner)
    if kind in (media_types.LAYER_TAR_GZIP, media_types.DOCKER_LAYER_GZIP) or _GZIP_TYPES.fullmatch(kind):
        try:
            with _decompressed(content, scanner.budget(content)) as tar:
                return _scan_tar(descriptor, tar, scanner)
        except (OSError, EOFError, zlib.error, LimitExceeded) as e:
            return _unreadable(descriptor, content, scanner, str(e))
    report = scanner.scan(_name(descriptor), content)
    return ScannedLayer(descriptor=descriptor, files=(report,))


def digest_pieces(
    descriptor: Descriptor, content: Content, bounds: Sequence[tuple[int, int]], advance: Callable[[int], None]
) -> tuple[Digest, ...]:
    """The digests of each `(offset, size)` of a layer; they tile it. One pass over its bytes.

    Raises:
        DigestMismatch: they are not those of the descriptor.
    """
    whole, pieces = descriptor.digest.hasher(), []
    for offset, size in bounds or [(0, content.size)]:
        piece = hashlib.sha256()
        for data in content.pieces(offset, size):
            whole.update(data)
            piece.update(data)
            advance(len(data))
        pieces.append(Digest("sha256", piece.hexdigest()))
    found = Digest(descriptor.digest.algorithm, whole.hexdigest())
    if found != descriptor.digest:
        raise DigestMismatch(f"the bytes of layer {descriptor.digest} hash to {found}")
    return tuple(pieces)


def _name(descriptor: Descriptor) -> str:
    """What a layer that is a file is called: as its title says, else by its type."""
    for key in _TITLES:
        if title := descriptor.annotations.get(key):
            return title
    ending = ".json" if descriptor.media_type.endswith("+json") else ""
    return _NAMES.get(descriptor.media_type, f"{descriptor.digest.short}{ending}")


def _scan_tar(descriptor: Descriptor, content: Content, scanner: FileScanner) -> ScannedLayer:
    try:
        payloads = locate_members(content.read, content.size)
    except InvalidContent as e:
        return _unreadable(descriptor, content, scanner, str(e))
    except LimitExceeded as e:
        return _unreadable(descriptor, None, scanner, str(e))
    files, outside, findings = [], [], []
    name = descriptor.digest.short
    for path, payload in payloads.items():
        part = content.part(payload.offset, payload.size)
        if path.rpartition("/")[2].startswith(".wh."):
            findings.append(Finding(rule=WHITEOUT, path=name, detail=shown(path)))
        elif path.startswith(_MODEL):
            files.append(scanner.scan(path.removeprefix(_MODEL), part))
        elif not _is_ours(path, part, descriptor):
            outside.append(path)
    if outside:
        more = f" and {len(outside) - 1} more" if len(outside) > 1 else ""
        findings.append(Finding(rule=OUTSIDE, path=name, detail=f"{shown(outside[0])}{more}"))
    return ScannedLayer(
        descriptor=descriptor,
        files=tuple(files),
        findings=tuple(findings),
        payloads=payloads,
        card=_card(content, payloads),
    )


def _card(content: Content, payloads: Mapping[str, Payload]) -> bytes | None:
    """The model card, as far as one is read anywhere; `None` in a quick scan that has read enough."""
    payload = payloads.get(f"{_MODEL}README.md")
    try:
        return content.read(payload.offset, min(payload.size, MAX_CARD)) if payload is not None else None
    except LimitExceeded:
        return None


def _unreadable(descriptor: Descriptor, content: Content | None, scanner: FileScanner, why: str) -> ScannedLayer:
    """A layer that is refused as a whole: what can be seen in it all the same may still be malicious."""
    name = descriptor.digest.short
    findings = (Finding(rule=UNREADABLE, path=name, detail=shown(why)[1:-1]),)
    files = (scanner.scan(f"{name}.tar", content),) if content is not None else ()
    return ScannedLayer(descriptor=descriptor, files=files, findings=findings)


def _is_ours(path: str, content: Content, descriptor: Descriptor) -> bool:
    """The model index, which is compared elsewhere, and the holder, byte for byte."""
    if path == INDEX_PATH:
        return descriptor.annotations.get(LAYER) == LayerKind.INDEX
    if path == HOLDER_PATH.lstrip("/"):
        programs = [holder_bytes(architecture) for architecture in ARCHITECTURES]
        return any(content.size == len(p) and content.read(0, len(p)) == p for p in programs)
    return False


@contextmanager
def _decompressed(content: Content, budget: Budget) -> Iterator[Content]:
    def pieces() -> Iterator[bytes]:
        total = 0
        with gzip.GzipFile(fileobj=content.stream(), mode="rb") as stream:
            while piece := stream.read(_PIECE):
                total += len(piece)
                budget.expand(len(piece), total=total, compressed=content.size)
                yield piece

    with spooled(pieces(), budget.spool) as tar:
        yield tar
