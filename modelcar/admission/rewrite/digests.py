"""Digests that policies were asked about, or that tags had: in the pod's images, and recorded beside them."""

from __future__ import annotations

from collections.abc import Iterator

from modelcar.admission.asked import Asked
from modelcar.admission.facts import Facts
from modelcar.admission.pinning import digest_in, pinned
from modelcar.admission.rewrite.lists import Object
from modelcar.oci import Digest

__all__ = ["digests_of", "pin_others"]


def pin_others(spec: Object, facts: Facts) -> None:
    """Pin the images of containers and volumes about which policies were asked."""
    for field in ("initContainers", "containers"):
        if spec.get(field):
            spec[field] = [_pinned(each, "image", facts) for each in spec[field]]
    if spec.get("volumes"):
        spec["volumes"] = [
            each | {"image": _pinned(each["image"], "reference", facts)} if each.get("image") else each
            for each in spec["volumes"]
        ]


def digests_of(spec: Object, asked: Asked, facts: Facts) -> dict[str, str]:
    """Images as they were written -> digest: the models, and whatever else of the pod was pinned, now or before."""
    digests = {
        image: fact.digest for image, fact in facts.items() if fact.trust is not None and fact.digest is not None
    }
    for model in asked.models:
        fact = facts.get(model.image)
        digest = digest_in(model.image) or (fact.digest if fact else None)
        if digest is not None:
            digests[model.written] = digest
        if model.image != model.written:
            digests.pop(model.image, None)
    used = set(_images(spec))
    former = {image: digest for image, digest in asked.pins.items() if pinned(image, Digest.parse(digest)) in used}
    named = {image: str(digest) for image, digest in digests.items() if digest_in(image) is None or image in used}
    return former | named


def _pinned(fields: Object, field: str, facts: Facts) -> Object:
    image = fields.get(field)
    fact = facts.get(image) if image else None
    if image is None or fact is None or fact.trust is None:
        return fields
    now = pinned(image, fact.digest)
    return fields if now == image else fields | {field: now}


def _images(spec: Object) -> Iterator[str]:
    for field in ("initContainers", "containers"):
        for container in spec.get(field) or ():
            yield container.get("image") or ""
    for volume in spec.get("volumes") or ():
        yield (volume.get("image") or {}).get("reference") or ""
