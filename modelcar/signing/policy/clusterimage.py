"""sigstore policy-controller's `ClusterImagePolicy`, v1alpha1 and v1beta1, which do not differ in what we read.

Every field that its API knows is known here. What each is taken for is in `docs/formats/policies.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from modelcar.errors import UsageError
from modelcar.signing.policy.authorities import AuthoritySpec, parse_authorities, parse_body
from modelcar.signing.policy.fields import ClosedFields
from modelcar.signing.policy.globs import ImageGlob
from modelcar.signing.policy.workload import ResourceMatch, parse_match

__all__ = ["ClusterImagePolicy", "parse_cluster_image_policy", "parse_images", "parse_mode"]

_FIELDS: Final = ("images", "authorities", "policy", "mode", "match")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterImagePolicy:
    """One of `authorities` must be satisfied; `body` names the language of a policy over them that nobody here runs."""

    kind = "ClusterImagePolicy"

    name: str
    images: tuple[ImageGlob, ...]
    authorities: tuple[AuthoritySpec, ...]
    warn_only: bool = False
    match: tuple[ResourceMatch, ...] = ()
    body: str | None = None


def parse_cluster_image_policy(name: str, document: ClosedFields) -> ClusterImagePolicy:
    """Read `spec` of a document.

    Raises:
        UsageError: with the path to the field.
    """
    spec = document.object("spec", _FIELDS)
    return ClusterImagePolicy(
        name=name,
        images=parse_images(spec),
        authorities=parse_authorities(spec),
        warn_only=parse_mode(spec),
        match=parse_match(spec),
        body=parse_body(spec, "policy", inputs=True),
    )


def parse_images(spec: ClosedFields) -> tuple[ImageGlob, ...]:
    """`images[].glob`: at least one."""
    return tuple(_glob(each) for each in spec.some_objects("images", ("glob",)))


def parse_mode(spec: ClosedFields) -> bool:
    """Whether `mode` is `warn`."""
    return spec.optional_choice("mode", ("enforce", "warn")) == "warn"


def _glob(fields: ClosedFields) -> ImageGlob:
    text = fields.text("glob")
    try:
        return ImageGlob(text)
    except UsageError as e:
        raise fields.fail("glob", f"is wrong: {e}", hint=e.hint) from None
