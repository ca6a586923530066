"""What an image says about itself, read once for all predicates. No weight layer is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from modelcar.checkpoint.card import MAX_CARD, Card, parse_card
from modelcar.errors import InvalidContent, InvalidDocument, UsageError
from modelcar.layers.index import IndexedFile, IndexedLayer, ModelIndex
from modelcar.oci import Descriptor, Digest
from modelcar.oci.document import parse_object
from modelcar.packaging.annotations import LAYER
from modelcar.packaging.fetch import ImageSource
from modelcar.packaging.inspect import Inspected, inspect_image
from modelcar.packaging.plan import LayerKind
from modelcar.signing.attestations.files import content_digest

__all__ = ["AttestedImage", "read_image"]

_MAX_CONFIG: Final = 4 << 20  # bytes
_READ: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestedImage:
    """What predicates are made from. All of it is what the publisher wrote and the image's digest covers.

    Attributes:
        root: the index or manifest that the statement is about.
        repository: `registry/repository`, if the image was named by a reference.
        annotations: of the index, or of the manifest where there is no index.
        platforms: `os/architecture`, sorted; without the ModelPack twin.
        base: layers that are neither the model's nor the platform's holder, bottom to top.
        has_holder: whether a manifest has the holder of the default base.
        model: files, tensors and digests.
        card: of the model's own README, empty if there is none.
        config: `config.json`, empty if there is none or it is not an object.
    """

    root: Descriptor
    repository: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    platforms: tuple[str, ...] = ()
    base: tuple[Descriptor, ...] = ()
    has_holder: bool = False
    model: ModelIndex
    card: Card = field(default_factory=Card)
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """A name for people: the model's title, else the repository's last part, else `model`."""
        title = self.annotations.get("org.opencontainers.image.title")
        return title or (self.repository or "model").rpartition("/")[2]


def read_image(source: ImageSource, repository: str | None = None) -> AttestedImage:
    """Read documents, model index, card and configuration of the image at `source`; all of it is checked.

    Raises:
        UsageError: it has no model index, so nothing can be said about its files.
        InvalidContent: it is damaged.
    """
    inspected = inspect_image(source.resolve(), source.read)
    if inspected.model is None:
        raise UsageError(
            f"{inspected.root.digest} has no model index, so nothing is known about its files",
            hint="give a predicate of your own: --predicate FILE",
        )
    ours = {layer.listed_as for layer in inspected.model.layers}
    layers = [layer for m in inspected.manifests if m.kind == "image" for layer in m.manifest.layers]
    kinds = {layer.digest: layer.annotations.get(LAYER) for layer in layers}
    base = [d for d in layers if d.digest not in ours and kinds[d.digest] not in (LayerKind.INDEX, LayerKind.HOLDER)]
    config = _small_file(source, inspected, inspected.model, "config.json", _MAX_CONFIG)
    card = _small_file(source, inspected, inspected.model, "README.md", MAX_CARD)
    return AttestedImage(
        root=inspected.root,
        repository=repository,
        annotations=inspected.annotations or dict(inspected.manifests[0].manifest.annotations),
        platforms=tuple(sorted(str(m.config.platform) for m in inspected.manifests if m.config is not None)),
        base=tuple({d.digest: d.plain() for d in base}.values()),
        has_holder=LayerKind.HOLDER in kinds.values(),
        model=inspected.model,
        card=parse_card(card.decode(errors="replace")) if card is not None else Card(),
        config=_object(config),
    )


def _small_file(source: ImageSource, inspected: Inspected, model: ModelIndex, path: str, limit: int) -> bytes | None:
    """The bytes of a file at the top of the model; `None` if there is none or it has more than `limit` bytes."""
    for layer in model.layers:
        for file in layer.files:
            if file.path == path and file.size <= limit and layer.blob is None:  # small files lie in plain tars
                content = _read_file(source, _descriptor(inspected, layer), file)
                _check_content(file, layer, content)
                return content
    return None


def _descriptor(inspected: Inspected, layer: IndexedLayer) -> Descriptor:
    """As the manifest has it: the index may lie about a layer's size."""
    for m in inspected.manifests:
        for descriptor in m.manifest.layers:
            if descriptor.digest == layer.digest:
                return descriptor
    raise InvalidContent(f"the model index names layer {layer.digest}, which no manifest lists")


def _read_file(source: ImageSource, layer: Descriptor, file: IndexedFile) -> bytes:
    """One file out of a layer, which is read to its end because only then is it known to be that layer."""
    kept = bytearray()
    position = 0
    with source.open_layer(layer) as stream:
        while data := stream.read(_READ):
            kept += data[max(0, file.offset - position) : max(0, file.offset + file.size - position)]
            position += len(data)
    if len(kept) != file.size:
        raise InvalidContent(f"the model index places {file.path} beyond the end of layer {layer.digest}")
    return bytes(kept)


def _check_content(file: IndexedFile, layer: IndexedLayer, content: bytes) -> None:
    """What is about to be attested is the index: where it is seen to lie, nothing of it is repeated."""
    digest = content_digest(file, layer)
    if digest is not None and Digest.of(content, digest.algorithm) != digest:
        raise InvalidContent(f"the model index gives {file.path} another digest than layer {layer.digest} has")


def _object(raw: bytes | None) -> dict[str, Any]:
    if raw is None:
        return {}
    try:
        return parse_object(raw, "config.json")
    except InvalidDocument:
        return {}  # the model's own business, not the attestation's
