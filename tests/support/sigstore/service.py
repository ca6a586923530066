"""The instance on a loopback port, speaking what Fulcio and Rekor speak."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, cast
from urllib.parse import parse_qs, urlencode

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_public_key

from modelcar.signing.dsse import pre_authentication_encoding
from tests.support.sigstore.instance import Options, Sigstore, leaf_options
from tests.support.sigstore.rekor import dsse_body, hashed_body

__all__ = ["JOB", "serve_sigstore"]

JOB = "what the runner gave the job"  # to ask for an identity token with


@contextmanager
def serve_sigstore(sigstore: Sigstore) -> Iterator[Sigstore]:
    """Serve `sigstore`; its `url` is where."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"sigstore": sigstore}))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    sigstore.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield sigstore
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _possessed_key(asked: dict[str, Any], subject: str) -> ec.EllipticCurvePublicKey:
    """The key to certify, of which the asker proved possession: by a signing request, or by signing who they are."""
    if "certificateSigningRequest" in asked:
        request = x509.load_pem_x509_csr(base64.b64decode(asked["certificateSigningRequest"]))
        assert request.is_signature_valid
        return cast("ec.EllipticCurvePublicKey", request.public_key())
    proof = asked["publicKeyRequest"]
    key = cast("ec.EllipticCurvePublicKey", load_pem_public_key(proof["publicKey"]["content"].encode()))
    key.verify(base64.b64decode(proof["proofOfPossession"]), subject.encode(), ec.ECDSA(hashes.SHA256()))
    return key


class _Handler(BaseHTTPRequestHandler):
    sigstore: Sigstore

    def do_GET(self) -> None:
        """The identity provider: whoever asks is logged in at once and sent back with a code."""
        path, _, query = self.path.partition("?")
        if path == "/.well-known/openid-configuration":
            url = self.sigstore.url
            self._answer(200, {"authorization_endpoint": f"{url}/login", "token_endpoint": f"{url}/token"})
        elif path == "/login":
            asked = {name: values[0] for name, values in parse_qs(query).items()}
            back = urlencode({"code": "a code", "state": asked["state"]})
            self.send_response(302)
            self.send_header("Location", f"{asked['redirect_uri']}?{back}")
            self.end_headers()
        elif path == "/job-token":  # as GitHub gives a job its identity
            assert self.headers["Authorization"] == f"bearer {JOB}"
            (audience,) = parse_qs(query)["audience"]
            self._answer(200, {"value": self.sigstore.token(aud=audience)})
        else:
            self._answer(404, {"message": "no such page"})

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/token":
            assert parse_qs(content.decode())["code"] == ["a code"]
            self._answer(200, {"access_token": self.sigstore.token()})
            return
        if self.path == "/timestamp" and self.sigstore.tsa is not None:
            self._send(201, "application/timestamp-reply", self.sigstore.tsa.reply(content))
            return
        asked = json.loads(content)
        if self.path == "/api/v2/signingCert":
            self._answer(*self._certificate(asked))
        elif self.path == "/api/v1/log/entries":
            entry = self._entry(asked)
            self._answer(201, entry, etag=next(iter(entry)))
        elif self.path == "/api/v2/log/entries":
            self._answer(201, self._entry_v2(asked))
        else:
            self._answer(404, {"message": "no such service"})

    def _certificate(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Verify token and proof of possession, then certify who the token says it is."""
        sigstore = self.sigstore
        try:
            claims = jwt.decode(
                self.headers["Authorization"].removeprefix("Bearer "),
                sigstore.oidc_key.public_key(),
                algorithms=["ES256"],
                audience="sigstore",
            )
        except jwt.InvalidTokenError as e:
            return 401, {"code": 16, "message": f"the token is not valid: {e}"}
        subject = claims["sub"]
        key = _possessed_key(asked, subject)
        name: x509.GeneralName = x509.UniformResourceIdentifier(subject)
        if "@" in subject and "://" not in subject:
            name = x509.RFC822Name(subject)
        now = datetime.now(UTC).replace(microsecond=0)
        options = Options(names=(name,), issuer=claims["iss"], issuer_v2=claims["iss"])
        leaf = sigstore.fulcio.issue(key, leaf_options(options, now))
        chain = [leaf, sigstore.fulcio.intermediate, sigstore.fulcio.root]
        pems = [c.public_bytes(Encoding.PEM).decode() for c in chain]
        return 200, {"signedCertificateEmbeddedSct": {"chain": {"certificates": pems}}}

    def _entry(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Verify the envelope's signature, then log it."""
        proposed = asked["spec"]["proposedContent"]
        envelope = json.loads(proposed["envelope"])
        payload = base64.b64decode(envelope["payload"])
        pem = base64.b64decode(proposed["verifiers"][0])
        key = cast("ec.EllipticCurvePublicKey", x509.load_pem_x509_certificate(pem).public_key())
        signed = pre_authentication_encoding(envelope["payloadType"], payload)
        key.verify(base64.b64decode(envelope["signatures"][0]["sig"]), signed, ec.ECDSA(hashes.SHA256()))
        entry = self.sigstore.rekor.append(dsse_body(envelope, payload, pem), datetime.now(UTC))
        proof = entry["inclusionProof"]
        return {
            hashlib.sha256(b"\0" + base64.b64decode(entry["canonicalizedBody"])).hexdigest(): {
                "body": entry["canonicalizedBody"],
                "integratedTime": int(entry["integratedTime"]),
                "logID": base64.b64decode(entry["logId"]["keyId"]).hex(),
                "logIndex": int(entry["logIndex"]),
                "verification": {
                    "signedEntryTimestamp": entry["inclusionPromise"]["signedEntryTimestamp"],
                    "inclusionProof": {
                        "logIndex": int(proof["logIndex"]),
                        "rootHash": base64.b64decode(proof["rootHash"]).hex(),
                        "treeSize": int(proof["treeSize"]),
                        "hashes": [base64.b64decode(node).hex() for node in proof["hashes"]],
                        "checkpoint": proof["checkpoint"]["envelope"],
                    },
                },
            }
        }

    def _entry_v2(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Verify the signature over the digest, then log it."""
        proposed = asked["hashedRekordRequestV002"]
        digest, signature = (base64.b64decode(text) for text in (proposed["digest"], proposed["signature"]["content"]))
        der = base64.b64decode(proposed["signature"]["verifier"]["x509Certificate"]["rawBytes"])
        key = cast("ec.EllipticCurvePublicKey", x509.load_der_x509_certificate(der).public_key())
        key.verify(signature, digest, ec.ECDSA(Prehashed(hashes.SHA256())))
        return self.sigstore.rekor.append_v2(hashed_body(digest, signature, der))

    def _answer(self, status: int, document: dict[str, Any], *, etag: str | None = None) -> None:
        self._send(status, "application/json", json.dumps(document).encode(), etag=etag)

    def _send(self, status: int, kind: str, content: bytes, *, etag: str | None = None) -> None:
        self.send_response(status)
        if etag is not None:
            self.send_header("ETag", etag)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        """Tests speak for themselves."""
