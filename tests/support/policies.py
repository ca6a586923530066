"""Policies, images and evidence for tests: real keys and real signatures, no network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import yaml
from cryptography.hazmat.primitives.asymmetric import ec

from modelcar.oci import Digest, Reference
from modelcar.signing.keys.key import PrivateKey
from modelcar.signing.policy import SCAN_VERDICT, Authorities, Decision, Default, ImageFacts, KnownAuthorities
from modelcar.signing.policy import evaluate as evaluate_policies
from modelcar.signing.policy import parse as parse_policies
from modelcar.signing.signatory import KeySignatory
from modelcar.signing.simplesigning import simple_payload
from modelcar.signing.statement import COSIGN_SIGN, Statement
from modelcar.signing.verified import Evidence

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DIGEST = Digest.of(b"the image")
REFERENCE = Reference.parse("registry.example.com/models/llm:v1")
IMAGE = ImageFacts(reference=REFERENCE, digest=DIGEST)
EVERYTHING = [{"glob": "**"}]


@dataclass(frozen=True)
class Someone:
    """A key that signs things."""

    key: PrivateKey = field(default_factory=lambda: PrivateKey(ec.generate_private_key(ec.SECP256R1())))

    @property
    def pem(self) -> str:
        return self.key.public.pem.decode()

    @property
    def authority(self) -> dict[str, Any]:
        """As it is written in a policy."""
        return {"name": "someone", "key": {"data": self.pem}}

    def signs(self, digest: Digest = DIGEST) -> Evidence:
        return self.states(COSIGN_SIGN, {}, digest)

    def signs_legacy(self, digest: Digest = DIGEST) -> Evidence:
        payload = simple_payload(digest, REFERENCE.name)
        return Evidence(simple=(KeySignatory(self.key).sign_payload(payload),))

    def states(self, predicate_type: str, predicate: Mapping[str, Any], digest: Digest = DIGEST) -> Evidence:
        statement = Statement.about(digest, predicate_type, predicate)
        return Evidence(bundles=(KeySignatory(self.key).sign_statement(statement),))

    def finds(self, verdict: str, digest: Digest = DIGEST, **changes: Any) -> Evidence:
        """A scan verdict that satisfies `scan_rule`, apart from `changes`."""
        return self.states(SCAN_VERDICT, verdict_predicate(verdict, **changes), digest)


def verdict_predicate(verdict: str, **changes: Any) -> dict[str, Any]:
    predicate = {
        "verdict": verdict,
        "ruleSet": {"name": "modelcar", "version": "2026.11.2"},
        "scannedAt": "2026-11-20T12:00:00Z",
        **changes,
    }
    return {key: value for key, value in predicate.items() if value is not None}


def scan_rule(*scanners: Someone) -> dict[str, Any]:
    return {
        "maxAge": "7d",
        "ruleSet": {"name": "modelcar", "minVersion": "2026.11"},
        "authorities": [{**s.authority, "name": f"scanner-{i}"} for i, s in enumerate(scanners)],
    }


def together(*pieces: Evidence) -> Evidence:
    return Evidence(
        bundles=tuple(b for p in pieces for b in p.bundles),
        simple=tuple(s for p in pieces for s in p.simple),
        envelopes=tuple(e for p in pieces for e in p.envelopes),
    )


def cluster_image_policy(*authorities: Mapping[str, Any], name: str = "policy", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "policy.sigstore.dev/v1beta1",
        "kind": "ClusterImagePolicy",
        "metadata": {"name": name},
        "spec": {"images": EVERYTHING, "authorities": [dict(a) for a in authorities], **spec},
    }


def model_policy(name: str = "model", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "policy.modelcar.dev/v1alpha1",
        "kind": "ModelPolicy",
        "metadata": {"name": name},
        "spec": {"images": EVERYTHING, **spec},
    }


def deny_list(*digests: Digest, name: str = "revoked") -> dict[str, Any]:
    return {
        "apiVersion": "policy.modelcar.dev/v1alpha1",
        "kind": "DigestDenyList",
        "metadata": {"name": name},
        "spec": {"digests": [{"digest": str(d), "reason": "an incident"} for d in digests]},
    }


def as_file(*documents: Any) -> bytes:
    separate = [json.loads(json.dumps(document)) for document in documents]  # or what is shared becomes an alias
    return yaml.safe_dump_all(separate, sort_keys=False).encode()


def parsed(*documents: Any) -> None:
    """Whatever the parser raises."""
    parse_policies([("p.yaml", as_file(*documents))])


def decide(
    *documents: Any,
    image: ImageFacts = IMAGE,
    evidence: Evidence | None = None,
    authorities: Authorities | None = None,
    default: Default = "deny",
    more: Mapping[Digest, Evidence] | None = None,
) -> Decision:
    """What policies made of `documents` say about an image with this evidence."""
    return evaluate_policies(
        parse_policies([("policy.yaml", as_file(*documents))]),
        image,
        {image.digest: evidence or Evidence(), **(more or {})},
        authorities or KnownAuthorities(),
        now=NOW,
        default=default,
    )
