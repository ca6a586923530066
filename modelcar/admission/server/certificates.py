"""Certificates that the webhook makes for itself: what there is, and what it becomes as time goes by. Pure.

A new authority is trusted long before anything is issued by it, and an old one until it ends. So whoever still has the
bundle of yesterday can verify the certificate of today, and the other way round.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from modelcar.errors import UsageError

__all__ = ["Lifetimes", "Pair", "Papers", "renewed"]

_SKEW: Final = dt.timedelta(minutes=5)  # by which clocks may differ
_MAX_AUTHORITIES: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    """How long things live. Each is replaced when two thirds of its life are over.

    Attributes:
        overlap: so long a new authority is in the bundle before anything is issued by it.
    """

    certificate: dt.timedelta = dt.timedelta(days=90)
    authority: dt.timedelta = dt.timedelta(days=730)
    overlap: dt.timedelta = dt.timedelta(days=1)

    def __post_init__(self) -> None:
        if not self.overlap * 3 <= self.certificate <= self.authority / 3:
            raise UsageError("an authority lives three times as long as a certificate, that as three overlaps")


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def since(self) -> dt.datetime:
        return self.certificate.not_valid_before_utc + _SKEW

    @property
    def until(self) -> dt.datetime:
        return self.certificate.not_valid_after_utc

    def is_fresh(self, now: dt.datetime) -> bool:
        return self.since - _SKEW <= now < self.since + (self.until - self.since) * 2 / 3

    def issued(self, certificate: x509.Certificate) -> bool:
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (InvalidSignature, ValueError, TypeError):
            return False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Papers:
    """All that the replicas of a webhook share.

    Attributes:
        authorities: those that are trusted, the newest first.
        server: what clients are shown.
    """

    authorities: tuple[Pair, ...]
    server: Pair

    @property
    def bundle(self) -> bytes:
        """What the API server is to trust, in PEM."""
        return b"".join(_pem(authority.certificate) for authority in self.authorities)

    @property
    def chain(self) -> bytes:
        """The server's certificate and its key, in PEM."""
        return _pem(self.server.certificate) + _pem_key(self.server.key)

    def to_data(self) -> dict[str, bytes]:
        """As a Secret has it, under the names that others use, too."""
        return {
            "ca.crt": self.bundle,
            "ca.key": b"".join(_pem_key(authority.key) for authority in self.authorities),
            "tls.crt": _pem(self.server.certificate),
            "tls.key": _pem_key(self.server.key),
        }

    @classmethod
    def from_data(cls, data: Mapping[str, bytes]) -> Papers | None:
        """What `to_data` gave; `None` for anything else: a Secret without content, or one that somebody damaged."""
        try:
            certificates = x509.load_pem_x509_certificates(data["ca.crt"])
            authorities = tuple(_pairs(certificates, _split_keys(data["ca.key"])))
            servers = tuple(_pairs([x509.load_pem_x509_certificate(data["tls.crt"])], [data["tls.key"]]))
        except (KeyError, ValueError, TypeError):
            return None
        return cls(authorities=authorities, server=servers[0]) if authorities and servers else None


def renewed(papers: Papers | None, names: Sequence[str], lifetimes: Lifetimes, now: dt.datetime) -> Papers:
    """`papers`, or what should be there instead at `now`, for a server with these DNS names."""
    known = [a for a in papers.authorities if a.until > now][:_MAX_AUTHORITIES] if papers else []
    if not any(authority.is_fresh(now) for authority in known):
        known.insert(0, _authority(lifetimes.authority, now))
    # The newest that everybody has had time to hear of; at the very beginning, the only one.
    issuer = next((a for a in known if a.since + lifetimes.overlap <= now), known[-1])
    server = papers.server if papers else None
    if server is None or not (
        server.is_fresh(now) and _names(server) == set(names) and issuer.issued(server.certificate)
    ):
        server = _issued(issuer, names, lifetimes.certificate, now)
    found = Papers(authorities=tuple(known), server=server)
    return papers if papers is not None and papers.to_data() == found.to_data() else found


def _authority(life: dt.timedelta, now: dt.datetime) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"modelcar webhook authority {now:%Y-%m-%d}")
    usage = _usage(signs_certificates=True)
    certificate = (
        _unsigned(name, name, key.public_key(), life, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Pair(certificate, key)


def _issued(issuer: Pair, names: Sequence[str], life: dt.timedelta, now: dt.datetime) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    authority = issuer.certificate
    certificate = (
        _unsigned(_name("modelcar webhook"), authority.subject, key.public_key(), life, now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
        .sign(issuer.key, hashes.SHA256())
    )
    return Pair(certificate, key)


def _unsigned(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, life: dt.timedelta, now: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + life)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _names(pair: Pair) -> set[str]:
    try:
        found = pair.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return set()
    return set(found.value.get_values_for_type(x509.DNSName))


def _pairs(certificates: Iterable[x509.Certificate], keys: Iterable[bytes]) -> Iterator[Pair]:
    """Each certificate with its key; without one it is not ours to use."""
    loaded = [serialization.load_pem_private_key(key, None) for key in keys]
    ours = {key.public_key().public_numbers(): key for key in loaded if isinstance(key, ec.EllipticCurvePrivateKey)}
    for certificate in certificates:
        public = certificate.public_key()
        key = ours.get(public.public_numbers()) if isinstance(public, ec.EllipticCurvePublicKey) else None
        if key is not None:
            yield Pair(certificate, key)


def _split_keys(pem: bytes) -> list[bytes]:
    end = b"-----END PRIVATE KEY-----"
    return [part + end for part in pem.split(end)[:-1]]


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _pem_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
