"""Images at the digest that was verified."""

from __future__ import annotations

from modelcar.errors import InvalidReference
from modelcar.oci import Digest, Reference
from modelcar.oci.reference import DEFAULT_TAG

__all__ = ["default_pull_policy", "digest_in", "pinned"]


def pinned(image: str, digest: Digest | None) -> str:
    """`image` at `digest`, or at its own where it has one; without its tag, which some engines refuse beside a digest.
    As it is where there is no digest."""
    try:
        reference = Reference.parse(image)
    except InvalidReference:
        return image
    known = reference.digest or digest
    return image if known is None else f"{reference.name}@{known}"


def digest_in(image: str) -> Digest | None:
    """The digest that `image` is pinned to."""
    if "@" not in image:
        return None
    try:
        return Reference.parse(image).digest
    except InvalidReference:
        return None


def default_pull_policy(image: str) -> str:
    """What Kubernetes takes where nothing is said. Said all the same, a change of mind is not lost in a second pass."""
    reference = Reference.parse(image)
    return "Always" if reference.tag == DEFAULT_TAG else "IfNotPresent"
