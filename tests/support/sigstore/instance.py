"""All of it together: whoever asks gets a bundle, a trusted root, a trust config, an identity token."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from modelcar.signing.dsse import IN_TOTO, pre_authentication_encoding
from tests.support.sigstore.fulcio import Fulcio, LeafOptions
from tests.support.sigstore.keys import b64
from tests.support.sigstore.rekor import Rekor, dsse_body, hashed_body
from tests.support.sigstore.tsa import Tsa

__all__ = ["EMAIL", "ISSUER", "Options", "Sigstore", "trusted_root"]

EMAIL = "ci@acme.example"
ISSUER = "https://issuer.acme.example"
_MINUTE = timedelta(minutes=1)
_SINCE = {"start": "2020-01-01T00:00:00Z"}


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to sign. The defaults are what honest people do."""

    names: tuple[x509.GeneralName, ...] = (x509.RFC822Name(EMAIL),)
    issuer: str | None = ISSUER
    issuer_v2: str | None = ISSUER
    valid_from: timedelta = timedelta(0)  # of the certificate, relative to when it is logged
    valid_for: timedelta = 10 * _MINUTE
    payload_type: str = IN_TOTO
    log_version: int = 1
    timestamps: int = 0  # how many, by the timestamping authority
    leaf: dict[str, Any] = field(default_factory=dict)  # further members of LeafOptions


@dataclass(kw_only=True)
class Sigstore:
    """One instance. `url` is where its services answer, if they do."""

    fulcio: Fulcio = field(default_factory=Fulcio)
    rekor: Rekor = field(default_factory=Rekor)
    tsa: Tsa | None = None  # with one, the log is v2, which knows no time of its own
    url: str = "http://127.0.0.1:9"
    oidc_key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def token(self, **claims: Any) -> str:
        """An identity token for `EMAIL`, valid now; `claims` are added or replaced."""
        now = int(time.time())
        usual = {"iss": ISSUER, "sub": EMAIL, "aud": "sigstore", "iat": now, "exp": now + 600}
        return jwt.encode({**usual, **claims}, self.oidc_key, algorithm="ES256")

    def bundle(self, payload: bytes, options: Options | None = None) -> dict[str, Any]:
        """`payload` signed and logged now, as a bundle's JSON."""
        options = options or Options()
        now = datetime.now(UTC).replace(microsecond=0)
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self.fulcio.issue(key.public_key(), leaf_options(options, now))
        signature = key.sign(pre_authentication_encoding(options.payload_type, payload), ec.ECDSA(hashes.SHA256()))
        envelope = {
            "payload": b64(payload),
            "payloadType": options.payload_type,
            "signatures": [{"sig": b64(signature)}],
        }
        der = certificate.public_bytes(Encoding.DER)
        if options.log_version == 1:
            entry = self.rekor.append(dsse_body(envelope, payload, certificate.public_bytes(Encoding.PEM)), now)
        else:
            signed = pre_authentication_encoding(options.payload_type, payload)
            entry = self.rekor.append_v2(hashed_body(hashlib.sha256(signed).digest(), signature, der))
        material: dict[str, Any] = {"certificate": {"rawBytes": b64(der)}, "tlogEntries": [entry]}
        if self.tsa is not None and options.timestamps:
            stamps = [{"signedTimestamp": b64(self.tsa.timestamp(signature))} for _ in range(options.timestamps)]
            material["timestampVerificationData"] = {"rfc3161Timestamps": stamps}
        return {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": material,
            "dsseEnvelope": envelope,
        }

    def trust_config(self) -> str:
        service = {"url": self.url, "majorApiVersion": 1, "validFor": _SINCE, "operator": "tests"}
        return json.dumps(
            {
                "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
                "trustedRoot": json.loads(trusted_root(self)),
                "signingConfig": {
                    "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
                    "caUrls": [service],
                    "oidcUrls": [service],
                    "rekorTlogUrls": [{**service, "majorApiVersion": 2 if self.tsa else 1}],
                    "tsaUrls": [{**service, "url": f"{self.url}/timestamp"}] if self.tsa else [],
                    "rekorTlogConfig": {"selector": "ANY"},
                    "tsaConfig": {"selector": "ANY"},
                },
            }
        )


def leaf_options(options: Options, now: datetime) -> LeafOptions:
    usual = LeafOptions(
        names=options.names,
        issuer=options.issuer,
        issuer_v2=options.issuer_v2,
        not_before=now + options.valid_from,
        not_after=now + options.valid_from + options.valid_for,
    )
    return replace(usual, **options.leaf)


def trusted_root(sigstore: Sigstore) -> str:
    """The instance's `trusted_root.json`."""
    chain = [sigstore.fulcio.intermediate, sigstore.fulcio.root]
    return json.dumps(
        {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [sigstore.rekor.key.instance(sigstore.url)],
            "certificateAuthorities": [
                {
                    "subject": {"organization": "tests", "commonName": "tests"},
                    "uri": sigstore.url,
                    "certChain": {"certificates": [{"rawBytes": b64(c.public_bytes(Encoding.DER))} for c in chain]},
                    "validFor": _SINCE,
                }
            ],
            "ctlogs": [sigstore.fulcio.ct.instance(sigstore.url)],
            "timestampAuthorities": [sigstore.tsa.authority(sigstore.url)] if sigstore.tsa else [],
        }
    )
