"""A transparency log like Rekor: an RFC 6962 tree, signed checkpoints, and (v1) a clock and promises of inclusion."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.support.sigstore.keys import LogKey, b64

__all__ = ["Rekor", "dsse_body", "hashed_body"]

_NAME = "rekor.test"
_OTHERS = 6  # entries of other people, so that proofs are not trivial


@dataclass(kw_only=True)
class Rekor:
    key: LogKey = field(default_factory=LogKey)
    entries: list[bytes] = field(default_factory=lambda: [f"entry {i}".encode() for i in range(_OTHERS)])

    def append(self, body: bytes, when: datetime) -> dict[str, Any]:
        """Log `body` in v1's way; returns the entry as bundles have it."""
        entry = self.append_v2(body)
        integrated, index = int(when.timestamp()), int(entry["logIndex"])
        promise = {"body": b64(body), "integratedTime": integrated, "logID": self.key.id.hex(), "logIndex": index}
        canonical = json.dumps(promise, sort_keys=True, separators=(",", ":")).encode()
        signed = {"signedEntryTimestamp": b64(self.key.sign(canonical))}
        return {**entry, "integratedTime": str(integrated), "inclusionPromise": signed}

    def append_v2(self, body: bytes) -> dict[str, Any]:
        """Log `body` in v2's way: no time, no promise."""
        index = len(self.entries)
        self.entries.append(body)
        leaves = [hashlib.sha256(b"\0" + entry).digest() for entry in self.entries]
        root = _root(leaves)
        kind = json.loads(body)
        return {
            "logIndex": str(index),
            "logId": {"keyId": b64(self.key.id)},
            "kindVersion": {"kind": kind["kind"], "version": kind["apiVersion"]},
            "inclusionProof": {
                "logIndex": str(index),
                "rootHash": b64(root),
                "treeSize": str(len(leaves)),
                "hashes": [b64(node) for node in _proof(index, leaves)],
                "checkpoint": {"envelope": self._checkpoint(root, len(leaves))},
            },
            "canonicalizedBody": b64(body),
        }

    def _checkpoint(self, root: bytes, size: int) -> str:
        note = f"{_NAME} - 1\n{size}\n{b64(root)}\n"
        return f"{note}\n\u2014 {_NAME} {b64(self.key.id[:4] + self.key.sign(note.encode()))}\n"


def dsse_body(envelope: dict[str, Any], payload: bytes, pem: bytes) -> bytes:
    """What Rekor logs about a signed envelope: hashes, the signature, and the certificate it verifies with."""
    canonical = json.dumps(envelope, separators=(",", ":"), sort_keys=True).encode()
    body = {
        "apiVersion": "0.0.1",
        "kind": "dsse",
        "spec": {
            "envelopeHash": {"algorithm": "sha256", "value": hashlib.sha256(canonical).hexdigest()},
            "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()},
            "signatures": [{"signature": s["sig"], "verifier": b64(pem)} for s in envelope["signatures"]],
        },
    }
    return json.dumps(body, separators=(",", ":"), sort_keys=True).encode()


def hashed_body(digest: bytes, signature: bytes, certificate: bytes) -> bytes:
    """What Rekor v2 logs about a signature: the digest it is over, itself, and the certificate (DER) behind it."""
    verifier = {"keyDetails": "PKIX_ECDSA_P256_SHA_256", "x509Certificate": {"rawBytes": b64(certificate)}}
    record = {
        "data": {"algorithm": "SHA2_256", "digest": b64(digest)},
        "signature": {"content": b64(signature), "verifier": verifier},
    }
    body = {"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": {"hashedRekordV002": record}}
    return json.dumps(body, separators=(",", ":"), sort_keys=True).encode()


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1


def _root(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    k = _split(len(leaves))
    return hashlib.sha256(b"\1" + _root(leaves[:k]) + _root(leaves[k:])).digest()


def _proof(index: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = _split(len(leaves))
    if index < k:
        return [*_proof(index, leaves[:k]), _root(leaves[k:])]
    return [*_proof(index - k, leaves[k:]), _root(leaves[:k])]
