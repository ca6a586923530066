"""Images at the digest that was verified."""

from __future__ import annotations

from modelcar.errors import InvalidReference
from modelcar.oci import Digest, Reference
from modelcar.oci.reference import DEFAULT_TAG

__all__ = ["default_pull_policy", "digest_in", "pinned"]


def pinned(image: str, digest: Digest | None) -> str:
    """`image` at `digest`, without its tag, which some engines refuse beside a digest; as it is where it has a digest
    already, or there is none."""
    if digest is None or digest_in(image) is not None:
        return image
    try:
        return f"{Reference.parse(image).name}@{digest}"
    except InvalidReference:
        return image


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
