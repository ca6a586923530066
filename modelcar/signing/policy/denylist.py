"""`DigestDenyList`: digests that no image may consist of or contain, whatever any policy says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from modelcar.oci import Digest
from modelcar.signing.policy.fields import ClosedFields
from modelcar.signing.policy.modelpolicy import parse_digest

__all__ = ["DigestDenyList", "parse_deny_list"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DigestDenyList:
    """Digests of manifests, configs, layers or files, each with the reason for people."""

    kind = "DigestDenyList"

    name: str
    digests: Mapping[Digest, str]


def parse_deny_list(name: str, document: ClosedFields) -> DigestDenyList:
    """Read `spec` of a document.

    Raises:
        UsageError: with the path to the field.
    """
    digests: dict[Digest, str] = {}
    for entry in document.object("spec", ("digests",)).some_objects("digests", ("digest", "reason")):
        digest = parse_digest(entry, "digest", entry.text("digest"))
        if digest in digests:
            raise entry.fail("digest", "is there twice")
        digests[digest] = entry.optional_text("reason") or "no reason is given"
    return DigestDenyList(name=name, digests=digests)
