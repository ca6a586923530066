"""Predicate types, and the short names that cosign and we give them."""

from __future__ import annotations

import re
from typing import Final

from modelcar.errors import UsageError

__all__ = ["COSIGN_CUSTOM", "CYCLONEDX", "MODEL_SIGNING", "SHORT_NAMES", "SLSA_PROVENANCE", "predicate_type_of"]

SLSA_PROVENANCE: Final = "https://slsa.dev/provenance/v1"
CYCLONEDX: Final = "https://cyclonedx.org/bom"
MODEL_SIGNING: Final = "https://model_signing/signature/v1.0"
COSIGN_CUSTOM: Final = "https://cosign.sigstore.dev/attestation/v1"

SHORT_NAMES: Final = {
    "provenance": SLSA_PROVENANCE,
    "mlbom": CYCLONEDX,
    "oms": MODEL_SIGNING,
    # cosign's, of `cosign attest --type`
    "slsaprovenance": "https://slsa.dev/provenance/v0.2",
    "slsaprovenance02": "https://slsa.dev/provenance/v0.2",
    "slsaprovenance1": SLSA_PROVENANCE,
    "cyclonedx": CYCLONEDX,
    "spdx": "https://spdx.dev/Document",
    "spdxjson": "https://spdx.dev/Document",
    "link": "https://in-toto.io/Link/v1",
    "vuln": "https://cosign.sigstore.dev/attestation/vuln/v1",
    "openvex": "https://openvex.dev/ns",
    "custom": COSIGN_CUSTOM,
}
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(//)?[^\s/]\S*")


def predicate_type_of(name: str) -> str:
    """The predicate type for a short name, or for a URI itself.

    Raises:
        UsageError: it is neither.
    """
    if name in SHORT_NAMES:
        return SHORT_NAMES[name]
    if not _URI.fullmatch(name) or not name.isprintable():
        raise UsageError(
            f"{name!r} is not a predicate type", hint=f"give a URI or one of: {', '.join(sorted(SHORT_NAMES))}"
        )
    return name
