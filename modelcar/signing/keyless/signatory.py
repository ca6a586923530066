"""Signing with a certificate that an identity was given for minutes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from modelcar.errors import ModelcarError, NotVerified, UsageError, WorldError
from modelcar.signing.bundle import parse_bundle
from modelcar.signing.keyless.authority import KeylessAuthority
from modelcar.signing.keyless.identity import CertificateIdentity, IdentityRule, identity_of
from modelcar.signing.keyless.library import one_line, require_sigstore
from modelcar.signing.keyless.token import find_token
from modelcar.signing.keyless.trust import TrustSource
from modelcar.signing.statement import Statement
from modelcar.signing.verified import Bundle, SimpleSignature

if TYPE_CHECKING:
    from sigstore.sign import Signer

__all__ = ["KeylessSignatory", "keyless_signatory"]


class KeylessSignatory:
    """Signs under one certificate for as long as it is valid, about ten minutes. What it signed it verified."""

    def __init__(self, signer: Signer, identity: CertificateIdentity, trust: TrustSource) -> None:
        self._signer = signer
        self.identity = identity
        self.authority = KeylessAuthority([IdentityRule(subject=identity.subject, issuer=identity.issuer)], trust)

    def sign_statement(self, statement: Statement) -> Bundle:
        """A bundle with certificate and log entry.

        Raises:
            WorldError: a service failed, or what it gave does not verify.
        """
        from sigstore.dsse import Statement as LibraryStatement

        # The library insists on the member, which the specification and cosign do not.
        named = replace(statement, subjects=tuple(replace(s, name=s.name or "") for s in statement.subjects))
        try:
            raw = self._signer.sign_dsse(LibraryStatement(named.to_bytes())).to_json().encode()
        except Exception as e:
            raise WorldError(f"keyless signing failed: {one_line(e)}") from None
        bundle = parse_bundle(raw)
        try:
            self.authority.verify_bundle(bundle)
        except NotVerified as e:
            raise WorldError(f"the services gave a signature that does not verify: {e}") from None
        return bundle

    def sign_payload(self, payload: bytes) -> SimpleSignature:  # noqa: ARG002  # the protocol's
        """Always refused: nothing in the legacy format proves offline that the log holds the signature."""
        raise UsageError("keyless signatures are made as bundles only", hint="cosign 3 verifies them")

    def __str__(self) -> str:
        return f"{self.identity.subject} ({self.identity.issuer})"


def keyless_signatory(
    trust: TrustSource,
    environment: Mapping[str, str],
    *,
    token_file: Path | None = None,
    interactive: bool = False,
) -> KeylessSignatory:
    """Prove an identity (see `find_token`), get a certificate for it, and be ready to sign.

    Raises:
        UsageError: no identity, no library, or a trust config that cannot be signed with.
        WorldError: a service could not be reached, or refused.
    """
    require_sigstore()
    from sigstore.sign import SigningContext

    config = trust.config()
    try:
        context = SigningContext.from_trust_config(config)
    except Exception as e:
        raise UsageError(f"the trust config cannot be signed with: {one_line(e)}") from None
    token = find_token(config, environment, token_file=token_file, interactive=interactive)
    try:
        with context.signer(token) as signer:
            # Asked for by signing: the library shows the certificate only in a bundle.
            return KeylessSignatory(signer, _identity(signer), trust)
    except ModelcarError:
        raise
    except Exception as e:
        raise WorldError(f"no certificate could be had: {one_line(e)}") from None


def _identity(signer: Signer) -> CertificateIdentity:
    return identity_of(signer._signing_cert())  # noqa: SLF001  # there is no other way to it
