"""A certificate authority like Fulcio: root, intermediate, leaves with identity, issuer and the promise to log them."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.support.sigstore.keys import LogKey, spki

__all__ = ["Fulcio", "LeafOptions", "key_usage", "make_authority", "utf8_string"]

_ISSUER = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_ISSUER_V2 = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
_SCT_LIST = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_DAY = timedelta(days=1)


def utf8_string(text: str) -> bytes:
    """A DER UTF8String."""
    return b"\x0c" + _length(len(text.encode())) + text.encode()


def _length(size: int) -> bytes:
    if size < 0x80:
        return bytes([size])
    raw = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(raw)]) + raw


@dataclass(frozen=True, kw_only=True)
class LeafOptions:
    """What a leaf says, and what may be wrong with it: attackers try several names, or issuers that differ."""

    names: tuple[x509.GeneralName, ...]
    issuer: str | None
    issuer_v2: str | None
    not_before: datetime
    not_after: datetime
    usages: tuple[x509.ObjectIdentifier, ...] = (ExtendedKeyUsageOID.CODE_SIGNING,)
    with_sct: bool = True
    is_ca: bool = False


@dataclass(kw_only=True)
class Fulcio:
    """The authority; `ct` is the certificate log that it submits to."""

    ct: LogKey = field(default_factory=LogKey)
    _root_key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    _key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def __post_init__(self) -> None:
        self.root = make_authority("root", "root", self._root_key.public_key(), self._root_key)
        self.intermediate = make_authority("intermediate", "root", self._key.public_key(), self._root_key)

    def issue(self, key: ec.EllipticCurvePublicKey, options: LeafOptions) -> x509.Certificate:
        """A certificate for `key` with its signed certificate timestamp in it."""
        builder = self._builder(key, options)
        if not options.with_sct:
            return builder.sign(self._key, hashes.SHA256())
        precertificate = builder.sign(self._key, hashes.SHA256())
        sct = x509.UnrecognizedExtension(_SCT_LIST, self._sct_list(precertificate, options.not_before))
        return builder.add_extension(sct, critical=False).sign(self._key, hashes.SHA256())

    def _builder(self, key: ec.EllipticCurvePublicKey, options: LeafOptions) -> x509.CertificateBuilder:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.intermediate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(options.not_before)
            .not_valid_after(options.not_after)
            .add_extension(key_usage(signs=True, certifies=options.is_ca), critical=True)
            .add_extension(x509.ExtendedKeyUsage(options.usages), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if options.is_ca:
            builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        if options.names:
            builder = builder.add_extension(x509.SubjectAlternativeName(options.names), critical=True)
        if options.issuer is not None:
            builder = builder.add_extension(
                x509.UnrecognizedExtension(_ISSUER, options.issuer.encode()), critical=False
            )
        if options.issuer_v2 is not None:
            builder = builder.add_extension(
                x509.UnrecognizedExtension(_ISSUER_V2, utf8_string(options.issuer_v2)), critical=False
            )
        return builder

    def _sct_list(self, precertificate: x509.Certificate, when: datetime) -> bytes:
        """RFC 6962: the log's signature over what the certificate says, as one entry of a list in an octet string."""
        milliseconds = int(when.timestamp()) * 1000
        issuer = hashlib.sha256(spki(self._key.public_key())).digest()
        tbs = precertificate.tbs_certificate_bytes
        body = issuer + len(tbs).to_bytes(3, "big") + tbs + b"\0\0"
        signature = self.ct.sign(struct.pack("!BBQH", 0, 0, milliseconds, 1) + body)
        sct = struct.pack("!B32sQH", 0, self.ct.id, milliseconds, 0) + struct.pack("!BBH", 4, 3, len(signature))
        sct += signature
        listed = struct.pack("!HH", len(sct) + 2, len(sct)) + sct
        return b"\x04" + _length(len(listed)) + listed


def key_usage(*, signs: bool, certifies: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signs,
        key_cert_sign=certifies,
        crl_sign=certifies,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def make_authority(
    name: str, issuer: str, key: ec.EllipticCurvePublicKey, signer: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    def called(common: str) -> x509.Name:
        organisation = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "tests")
        return x509.Name([organisation, x509.NameAttribute(NameOID.COMMON_NAME, common)])

    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(called(name))
        .issuer_name(called(issuer))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 1000 * _DAY)
        .not_valid_after(now + 1000 * _DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(key_usage(signs=False, certifies=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
