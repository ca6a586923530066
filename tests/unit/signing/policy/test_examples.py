"""What lies in `policies/`: schemas that agree with the parser, and examples with the outcome that they promise."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from modelcar.errors import UsageError
from modelcar.oci import Digest, Reference
from modelcar.signing.policy import Decision, ImageFacts, ModelFile, evaluate, load
from modelcar.signing.policy.trust import KeylessTrust, Trust
from modelcar.signing.verified import Authority, Evidence
from tests.support.policies import (
    DIGEST,
    NOW,
    REFERENCE,
    Someone,
    deny_list,
    model_policy,
    parsed,
    together,
    verdict_predicate,
)
from tests.support.policy_documents import BEYOND_SCHEMAS, FULL, MALFORMED, RULES

POLICIES = Path(__file__).parents[4] / "policies"
EXAMPLES = sorted((POLICIES / "examples").glob("*.yaml"))
SCHEMAS = {
    schema["title"]: Draft202012Validator(schema)
    for schema in (json.loads(path.read_text()) for path in sorted((POLICIES / "schemas").glob("*.json")))
}
OWNER, STRANGER = Someone(), Someone()
GOOD_FILES = (ModelFile(path="m.safetensors", role="weight", format="safetensors"), ModelFile(path="c", role="config"))
SOURCE = {"dev.modelcar.source.repo": "mistralai/Mistral-7B", "dev.modelcar.source.revision": "a" * 40}
IMAGE = ImageFacts(
    reference=REFERENCE,
    digest=DIGEST,
    annotations=({"org.opencontainers.image.licenses": "Apache-2.0", **SOURCE},),
    files=GOOD_FILES,
)


@dataclass(frozen=True)
class HeldBy:
    """Whichever key an example names, its owner holds the private half here."""

    owner: Someone

    def find(self, trust: Trust) -> Authority:
        from modelcar.signing.keys.authority import KeyAuthority
        from modelcar.signing.policy import KnownAuthorities

        if isinstance(trust, KeylessTrust):
            return KnownAuthorities().find(trust)
        return KeyAuthority([self.owner.key.public])


def outcome(name: str, evidence: Evidence | None = None, image: ImageFacts = IMAGE) -> Decision:
    policies = load([POLICIES / "examples" / name])
    return evaluate(policies, image, {image.digest: evidence or Evidence()}, HeldBy(OWNER), now=NOW)


def at(reference: str) -> ImageFacts:
    return replace(IMAGE, reference=Reference.parse(reference))


def signed_by_ci() -> None:
    assert outcome("signed-by-ci.yaml", OWNER.signs()).allowed
    assert not outcome("signed-by-ci.yaml", STRANGER.signs()).allowed
    assert not outcome("signed-by-ci.yaml", OWNER.signs(), at("ghcr.io/acme/llm:v1")).allowed


def keyless() -> None:
    decision = outcome("keyless.yaml", OWNER.signs(), at("ghcr.io/acme/llm:v1"))
    assert "no root of trust is known for https://fulcio.sigstore.dev" in decision.reasons[0]


def provenance() -> None:
    there = outcome("provenance.yaml", OWNER.states("https://slsa.dev/provenance/v1", {}))
    assert there.allowed
    assert there.warnings == ()
    missing = outcome("provenance.yaml", OWNER.signs())
    assert missing.allowed
    assert "no attestation of type https://slsa.dev/provenance/v1" in missing.warnings[0]


def safe_models() -> None:
    clean = OWNER.finds("clean")
    assert outcome("safe-models.yaml", clean).allowed
    for evidence, image in (
        (OWNER.finds("malicious"), IMAGE),
        (together(clean, OWNER.finds("malicious")), IMAGE),
        (STRANGER.finds("clean"), IMAGE),
        (clean, replace(IMAGE, files=(*GOOD_FILES, ModelFile(path="m.bin", role="weight", format="pickle")))),
        (clean, replace(IMAGE, files=(*GOOD_FILES, ModelFile(path="m.py", role="code")))),
        (clean, replace(IMAGE, annotations=(SOURCE,))),
        (clean, replace(IMAGE, annotations=({"org.opencontainers.image.licenses": "MIT"},))),
    ):
        assert not outcome("safe-models.yaml", evidence, image).allowed


def revoked() -> None:
    digest = next(iter(load([POLICIES / "examples" / "revoked.yaml"]).deny_lists[0].digests))
    image = replace(IMAGE, contents={digest: "a layer"})
    decision = evaluate(
        load([POLICIES / "examples" / "revoked.yaml"]), image, {}, HeldBy(OWNER), now=NOW, default="allow"
    )
    assert not decision.allowed
    assert "a layer" in decision.reasons[0]
    assert "CVE-2026-0001" in decision.reasons[0]


def base_images() -> None:
    assert outcome("base-images.yaml", image=at("tools.example.com/curl:8")).allowed
    denied = outcome("base-images.yaml", image=at("ubuntu:24.04"))
    assert "mirror it to tools.example.com first" in denied.reasons[0]
    assert not outcome("base-images.yaml", image=at("tools.example.com.evil.example/curl:8")).allowed


OUTCOMES: dict[str, Callable[[], None]] = {
    "base-images.yaml": base_images,
    "keyless.yaml": keyless,
    "provenance.yaml": provenance,
    "revoked.yaml": revoked,
    "safe-models.yaml": safe_models,
    "signed-by-ci.yaml": signed_by_ci,
}


def test_every_example_has_an_outcome_here() -> None:
    assert [path.name for path in EXAMPLES] == sorted(OUTCOMES)


@pytest.mark.parametrize("name", sorted(OUTCOMES))
def test_outcomes(name: str) -> None:
    OUTCOMES[name]()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_are_valid_and_say_what_they_are_for(path: Path) -> None:
    assert path.read_text().startswith("# ")
    for document in yaml.safe_load_all(path.read_text()):
        assert problems(document) == []


def problems(document: Any) -> list[str]:
    """What the schemas have against a document."""
    kind = document.get("kind") if isinstance(document, dict) else None
    if not isinstance(kind, str) or kind not in SCHEMAS:
        return ["no such kind"]
    return [error.message for error in SCHEMAS[kind].iter_errors(document)]


def test_schemas_are_schemas() -> None:
    assert sorted(SCHEMAS) == ["ClusterImagePolicy", "DigestDenyList", "ModelPolicy"]
    for validator in SCHEMAS.values():
        Draft202012Validator.check_schema(validator.schema)


@pytest.mark.parametrize("document", [FULL, model_policy(**RULES), deny_list(Digest.of(b"x"))], ids=["c", "m", "d"])
def test_what_the_parser_takes_the_schema_takes(document: dict[str, Any]) -> None:
    parsed(document)
    assert problems(document) == []


@pytest.mark.parametrize(("make", "problem"), MALFORMED)
def test_what_the_parser_refuses_the_schema_refuses(make: Callable[[], Any], problem: str) -> None:
    document = make()
    with pytest.raises(UsageError) as caught:
        parsed(document)
    if not any(beyond in str(caught.value) for beyond in BEYOND_SCHEMAS):
        assert problems(json.loads(json.dumps(document))) != []


def test_the_verdict_schema_agrees_with_the_parser() -> None:
    from modelcar.errors import InvalidDocument
    from modelcar.signing.policy.verdicts import parse_verdict
    from modelcar.signing.verified import Signer, Verified

    schema = json.loads((POLICIES.parent / "docs" / "formats" / "scan-verdict.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    cases = [
        verdict_predicate("clean"),
        verdict_predicate("unverified", scannedAt="2026-11-20T12:00:00.5+02:00", scanner={"name": "x"}),
        verdict_predicate("malicious"),
        verdict_predicate("Clean"),
        verdict_predicate("clean", scannedAt=None),
        verdict_predicate("clean", scannedAt="yesterday"),
        verdict_predicate("clean", ruleSet=None),
        verdict_predicate("clean", ruleSet={"name": "", "version": "1"}),
        verdict_predicate("clean", ruleSet={"name": "x", "version": "1.x"}),
        {},
    ]
    for predicate in cases:
        statement = Verified(
            digest=DIGEST, predicate_type="x", predicate=predicate, signer=Signer(), signed_at=None, format="bundle"
        )
        try:
            parse_verdict(statement)
        except InvalidDocument:
            assert not validator.is_valid(predicate), predicate
        else:
            assert validator.is_valid(predicate), predicate
