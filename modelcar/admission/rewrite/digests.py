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
    """Pin the images of containers and volumes that policies verified."""
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
    used = set(_images(spec))
    former = {image: digest for image, digest in asked.pins.items() if pinned(image, Digest.parse(digest)) in used}
    others = {image: fact.digest for image, fact in facts.items() if pinned(image, fact.digest) in used - {image}}
    models = {model.written: facts[model.image].digest for model in asked.models}
    return former | {image: str(digest) for image, digest in (others | models).items() if digest is not None}


def _pinned(fields: Object, field: str, facts: Facts) -> Object:
    image = fields.get(field)
    fact = facts.get(image) if image else None
    if image is None or digest_in(image) or fact is None or fact.trust is None or not fact.trust.is_verified:
        return fields
    now = pinned(image, fact.digest)
    return fields if now == image else fields | {field: now}


def _images(spec: Object) -> Iterator[str]:
    for field in ("initContainers", "containers"):
        for container in spec.get(field) or ():
            yield container.get("image") or ""
    for volume in spec.get("volumes") or ():
        yield (volume.get("image") or {}).get("reference") or ""
