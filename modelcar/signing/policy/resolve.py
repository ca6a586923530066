"""From what policies say about signers to authorities that can be asked. What cannot be checked is never satisfied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from modelcar.errors import NotVerified
from modelcar.signing.policy.identities import IdentityAuthority
from modelcar.signing.policy.trust import PUBLIC_FULCIO, KeylessTrust, KeyTrust, Trust
from modelcar.signing.verified import Authority

__all__ = ["Authorities", "KnownAuthorities"]

_PUBLIC_REKOR = "https://rekor.sigstore.dev"


class Authorities(Protocol):
    """Whom to ask for the word of each signer that a policy names."""

    def find(self, trust: Trust) -> Authority:
        """The authority for `trust`.

        Raises:
            NotVerified: there is none here, and why.
        """


@dataclass(frozen=True, kw_only=True)
class KnownAuthorities:
    """Keys that policies contain, and identities under roots of trust.

    Attributes:
        keyless: authorities for any identity, by name of the trust root (`trustRootRef`) or by URL of the Fulcio.
        services: keys that are elsewhere, by the KMS URL or by `namespace/name` of the secret.
    """

    keyless: Mapping[str, Authority] = field(default_factory=dict)
    services: Mapping[str, Authority] = field(default_factory=dict)
    _found: dict[Trust, Authority] = field(default_factory=dict, init=False, repr=False)

    def find(self, trust: Trust) -> Authority:
        if (known := self._found.get(trust)) is None:
            known = self._key(trust) if isinstance(trust, KeyTrust) else self._identities(trust)
            self._found[trust] = known
        return known

    def _key(self, trust: KeyTrust) -> Authority:
        if trust.clock.log:
            raise NotVerified(
                "ctlog asks for an entry in a transparency log, which is not checked for keys", hint="remove ctlog"
            )
        if trust.clock.timestamps:
            raise NotVerified("rfc3161timestamp asks for a timestamp, which is not checked for keys")
        if trust.hash_algorithm != "sha256":
            raise NotVerified(f"hashAlgorithm {trust.hash_algorithm} is not checked; sha256 is")
        if trust.data is None:
            where = trust.kms or trust.secret or ""
            if (service := self.services.get(where)) is None:
                what = f"the key service {where}" if trust.kms else f"the cluster's secret {where}"
                raise NotVerified(f"{what} is not at hand", hint="put the public key into the policy: key.data")
            return service
        from modelcar.signing.keys.authority import KeyAuthority
        from modelcar.signing.keys.pem import parse_public

        return KeyAuthority([parse_public(trust.data.encode(), "key.data")])

    def _identities(self, trust: KeylessTrust) -> Authority:
        if trust.ca_cert is not None:
            raise NotVerified("ca-cert, a certificate authority without a log, is not checked; a trust root is")
        if trust.clock.timestamps:
            raise NotVerified("rfc3161timestamp asks for a timestamp, which is not asked for here")
        root = trust.trust_root or trust.url or PUBLIC_FULCIO
        if trust.clock.log_trust_root not in (None, trust.trust_root):
            raise NotVerified(f"ctlog asks for another trust root than {root}")
        if trust.trust_root is None and trust.clock.log_url not in (None, _PUBLIC_REKOR, f"{_PUBLIC_REKOR}/"):
            raise NotVerified(f"no root of trust is known for the log {trust.clock.log_url}")
        if (inner := self.keyless.get(root)) is None:
            raise NotVerified(f"no root of trust is known for {root}")
        return IdentityAuthority(inner, trust.identities)
