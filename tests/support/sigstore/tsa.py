"""A timestamping authority (RFC 3161): OpenSSL's, with a certificate made here."""

from __future__ import annotations

import hashlib
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.support.sigstore.fulcio import key_usage, make_authority
from tests.support.sigstore.keys import b64

__all__ = ["Tsa"]

_CONFIG = """
[tsa]
default_tsa = here
[here]
serial = {folder}/serial
signer_cert = {folder}/cert.pem
signer_key = {folder}/key.pem
certs = {folder}/root.pem
signer_digest = sha256
default_policy = 1.2.3.4
digests = sha256, sha384, sha512
accuracy = secs:1
ess_cert_id_chain = no
ess_cert_id_alg = sha256
"""


class Tsa:
    """Signs what time it is, over whatever it is asked about. Its files lie in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        self._root = make_authority("timestamps", "timestamps", root_key.public_key(), root_key)
        self._certificate = _certificate(key.public_key(), self._root, root_key)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / "key.pem").write_bytes(pem)
        (folder / "cert.pem").write_bytes(self._certificate.public_bytes(Encoding.PEM))
        (folder / "root.pem").write_bytes(self._root.public_bytes(Encoding.PEM))
        (folder / "serial").write_text("01\n")
        (folder / "tsa.cnf").write_text(_CONFIG.format(folder=folder))

    def reply(self, query: bytes) -> bytes:
        """A TimeStampResp for a TimeStampReq, both DER."""
        (self._folder / "query").write_bytes(query)
        command = ["openssl", "ts", "-reply", "-config", "tsa.cnf", "-queryfile", "query", "-out", "reply"]
        subprocess.run(command, cwd=self._folder, check=True, capture_output=True)
        return (self._folder / "reply").read_bytes()

    def timestamp(self, signature: bytes) -> bytes:
        """A TimeStampResp over `signature`."""
        command = ["openssl", "ts", "-query", "-digest", hashlib.sha256(signature).hexdigest(), "-sha256", "-cert"]
        made = subprocess.run(command, cwd=self._folder, check=True, capture_output=True)
        return self.reply(made.stdout)

    def authority(self, url: str) -> dict[str, Any]:
        """How a trusted root lists it."""
        chain = [self._certificate, self._root]
        return {
            "subject": {"organization": "tests", "commonName": "timestamps"},
            "uri": url,
            "certChain": {"certificates": [{"rawBytes": b64(c.public_bytes(Encoding.DER))} for c in chain]},
            "validFor": {"start": "2020-01-01T00:00:00Z"},
        }


def _certificate(
    key: ec.EllipticCurvePublicKey, root: x509.Certificate, signer: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "clock")]))
        .issuer_name(root.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(key_usage(signs=True, certifies=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
