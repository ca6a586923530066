"""What is known of an image when a policy is asked: all of it read from documents that its digest covers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from modelcar.layers.index import ModelIndex
from modelcar.oci import Digest, Reference
from modelcar.packaging.inspect import Inspected
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
        annotations: those of the index and of each manifest in it.
        files: what the model index lists; `None` if there is none.
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
            annotations=(inspected.annotations, *(m.manifest.annotations for m in inspected.manifests)),
            files=None if inspected.model is None else _files(inspected.model),
            workload=workload,
        )

    def said(self, key: str) -> tuple[str, ...]:
        """The different values of an annotation, wherever in the image it stands."""
        return tuple(dict.fromkeys(a[key] for a in self.annotations if a.get(key)))


def _contents(inspected: Inspected) -> dict[Digest, str]:
    contents: dict[Digest, str] = {}
    for model in [inspected.model] if inspected.model else []:
        contents |= {f.digest: f"the file {f.path}" for layer in model.layers for f in layer.files if f.digest}
    for each in inspected.manifests:
        contents |= {layer.digest: "a layer" for layer in each.manifest.layers}
        contents[each.manifest.config.digest] = "a config"
        contents[each.descriptor.digest] = f"the {each.kind} manifest"
    contents[inspected.root.digest] = "the image"
    return contents


def _files(model: ModelIndex) -> tuple[ModelFile, ...]:
    return tuple(
        ModelFile(path=f.path, role=f.role, format=f.format, digest=f.digest)
        for layer in model.layers
        for f in layer.files
    )
