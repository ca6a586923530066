"""What is known of an image when a policy is asked: all of it read from documents that its digest covers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from modelcar.layers.index import IndexedFile, IndexedLayer
from modelcar.oci import Digest, Reference
from modelcar.packaging.inspect import Inspected, InspectedManifest, index_layer_of
from modelcar.packaging.soci import is_soci_index
from modelcar.signing.attestations.files import content_digest
from modelcar.signing.policy.workload import Workload

__all__ = ["ImageFacts", "ModelFile"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A file as the model index has it: the publisher's word, which a clean scan verdict makes good."""

    path: str
    role: str
    format: str | None = None
    digest: Digest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """An image at `reference` that resolved to `digest`.

    Attributes:
        contents: every digest that the image consists of, with what it is, for people.
        annotations: those of the index and of each manifest and index in it.
        files: what the model indexes list; `None` if they leave a manifest out.
        workload: who wants to run it, where that is known.
    """

    reference: Reference
    digest: Digest
    contents: Mapping[Digest, str] = field(default_factory=dict)
    annotations: tuple[Mapping[str, str], ...] = ()
    files: tuple[ModelFile, ...] | None = None
    workload: Workload | None = None

    @classmethod
    def of(cls, reference: Reference, inspected: Inspected, workload: Workload | None = None) -> ImageFacts:
        """Facts from documents that `inspect_image` read, each checked against the digest that led to it."""
        return cls(
            reference=reference,
            digest=inspected.root.digest,
            contents=_contents(inspected),
            annotations=(
                inspected.annotations,
                *(index.annotations for index in inspected.indexes.values()),
                *(m.manifest.annotations for m in inspected.manifests),
            ),
            files=_files(inspected),
            workload=workload,
        )

    def said(self, key: str) -> tuple[str, ...]:
        """The different values of an annotation, wherever in the image it stands."""
        return tuple(dict.fromkeys(a[key] for a in self.annotations if a.get(key)))


def _contents(inspected: Inspected) -> dict[Digest, str]:
    contents: dict[Digest, str] = {}
    for file, layer in _indexed(inspected):
        if (digest := content_digest(file, layer)) is not None:
            contents[digest] = f"the file {file.path}"
    contents |= {listed.digest: "what an index lists" for listed in inspected.others}
    for each in inspected.manifests:
        contents |= {layer.digest: "a layer" for layer in each.manifest.layers}
        contents[each.manifest.config.digest] = "a config"
        # Whatever algorithm it is listed by, a deny-list may know a document by its sha256.
        contents |= dict.fromkeys((each.descriptor.digest, each.manifest.digest), f"the {each.kind} manifest")
    for listed_as, index in inspected.indexes.items():
        contents |= dict.fromkeys((listed_as, index.digest), "an index in it")
    contents[inspected.root.digest] = "the image"
    return contents


def _files(inspected: Inspected) -> tuple[ModelFile, ...] | None:
    """Each different entry once. A manifest without an index counts as known if others that have one share its layers,
    as the ModelPack twin's. A SOCI index holds no file at all.
    """
    manifests = [m for m in inspected.manifests if not is_soci_index(m.manifest)]
    known = {digest for m in manifests for digest in _accounted_for(m)}
    unknown = [m for m in manifests if not known.issuperset(d.digest for d in m.manifest.layers)]
    if unknown or inspected.model is None:
        return None
    return tuple(
        dict.fromkeys(
            ModelFile(path=f.path, role=f.role, format=f.format, digest=f.digest) for f, _ in _indexed(inspected)
        )
    )


def _accounted_for(image: InspectedManifest) -> Iterator[Digest]:
    """The layers that a manifest's model index speaks about, and those from the index upwards: it, and the base."""
    if image.model is None:
        return
    yield from (layer.listed_as for layer in image.model.layers if layer.files)
    layers, index = image.manifest.layers, index_layer_of(image.manifest)
    if index is not None:
        yield from (layer.digest for layer in layers[layers.index(index) :])


def _indexed(inspected: Inspected) -> Iterator[tuple[IndexedFile, IndexedLayer]]:
    for m in inspected.manifests:
        for layer in m.model.layers if m.model is not None else ():
            for file in layer.files:
                yield file, layer
