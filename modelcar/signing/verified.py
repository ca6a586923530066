"""What verification returns, and what it is given: evidence is untrusted, `Verified` is not."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, Protocol

from modelcar.oci import Digest
from modelcar.signing.dsse import Envelope

__all__ = ["SIGNATURE", "Authority", "Bundle", "Evidence", "Signer", "SimpleSignature", "Verified"]

SIGNATURE: Final = "dev.cosignproject.cosign/signature"  # on a layer of a `.sig` image: base64 of the signature over it


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """Who signed: a key by its fingerprint (`sha256:<hex of the SPKI>`), or an identity that an issuer vouched for."""

    fingerprint: str | None = None
    identity: str | None = None
    issuer: str | None = None

    def __str__(self) -> str:
        return f"{self.identity} ({self.issuer})" if self.identity else f"key {self.fingerprint}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A sigstore bundle as it was found. `raw` is its JSON; nothing in it is trusted yet."""

    raw: bytes
    envelope: Envelope
    key_hint: str | None = None
    certificate: bytes | None = None  # DER of the leaf; the chain and log entries stay in `raw`


@dataclass(frozen=True, slots=True, kw_only=True)
class SimpleSignature:
    """A layer of cosign's legacy `.sig` image: the payload, the raw signature, and the layer's annotations."""

    payload: bytes
    signature: bytes
    annotations: Mapping[str, str]

    @classmethod
    def signed(cls, payload: bytes, signature: bytes, more: Mapping[str, str] | None = None) -> SimpleSignature:
        """A new one; `more` are the annotations of a keyless signature."""
        annotations = {SIGNATURE: base64.b64encode(signature).decode(), **(more or {})}
        return cls(payload=payload, signature=signature, annotations=annotations)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that lies beside a manifest and claims to speak about it. Untrusted."""

    bundles: tuple[Bundle, ...] = ()
    simple: tuple[SimpleSignature, ...] = ()
    envelopes: tuple[Envelope, ...] = ()  # cosign's legacy `.att` layers
    unreadable: tuple[str, ...] = ()  # what was there and could not be parsed, a reason each


class Authority(Protocol):
    """Someone whose word is taken: some keys, or some identities under some certificate authority.

    Each method raises `NotVerified` with the reason unless this authority signed exactly that.
    """

    def verify_bundle(self, bundle: Bundle) -> tuple[Signer, datetime | None]:
        """Who signed the bundle's envelope, and when according to a trusted clock."""

    def verify_simple(self, signature: SimpleSignature) -> tuple[Signer, datetime | None]:
        """Who signed the payload, and when."""

    def verify_envelope(self, envelope: Envelope) -> tuple[Signer, datetime | None]:
        """Who signed a bare envelope (legacy attestations), and when."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A statement about `digest` that an authority made. Only the functions of `verify` create it."""

    digest: Digest
    predicate_type: str
    predicate: Mapping[str, Any]
    signer: Signer
    signed_at: datetime | None
    format: Literal["bundle", "legacy"]
