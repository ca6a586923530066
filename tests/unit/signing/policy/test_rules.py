"""The rules of a ModelPolicy: every one can say no, and what is not known is a no."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from modelcar.oci import Digest
from modelcar.signing.policy import SCAN_VERDICT, Decision, ImageFacts, ModelFile
from modelcar.signing.policy.verdicts import parse_verdict
from modelcar.signing.verified import Evidence, Signer, Verified
from tests.support.policies import DIGEST, IMAGE, Someone, decide, model_policy, scan_rule, together, verdict_predicate

SCANNER, OTHER, MALLORY = Someone(), Someone(), Someone()
WEIGHTS = ModelFile(path="model.safetensors", role="weight", format="safetensors")
CONFIG = ModelFile(path="config.json", role="config")


def files(*more: ModelFile) -> ImageFacts:
    return replace(IMAGE, files=(WEIGHTS, CONFIG, *more))


def said(**annotations: str) -> ImageFacts:
    names = {
        "licenses": "org.opencontainers.image.licenses",
        "repo": "dev.modelcar.source.repo",
        "revision": "dev.modelcar.source.revision",
    }
    return replace(IMAGE, annotations=({names[k]: v for k, v in annotations.items()}, {}))


def test_formats() -> None:
    policy = model_policy(formats={"allowed": ["safetensors", "gguf"]})
    assert decide(policy, image=files()).allowed
    for bad in (
        ModelFile(path="model.bin", role="weight", format="pickle"),
        ModelFile(path="training_args.bin", role="other", format="pickle"),
        ModelFile(path="weights", role="weight"),
        ModelFile(path="lib.so", role="code", format="elf"),
    ):
        decision = decide(policy, image=files(bad))
        assert not decision.allowed
        assert bad.path in decision.reasons[0]
    assert "no model index" in decide(policy).reasons[0]


def test_many_bad_files_are_one_line() -> None:
    bad = [ModelFile(path=f"{i}.bin", role="weight", format="pickle") for i in range(50)]
    (reason,) = decide(model_policy(formats={"allowed": ["safetensors"]}), image=files(*bad)).reasons
    assert "0.bin (pickle)" in reason
    assert "and 45 more are" in reason


def test_custom_code() -> None:
    policy = model_policy(customCode="deny")
    assert decide(policy, image=files()).allowed
    decision = decide(policy, image=files(ModelFile(path="modeling_x.py", role="code")))
    assert decision.reasons == ("ModelPolicy model: modeling_x.py is code",)
    assert not decide(policy).allowed


@pytest.mark.parametrize(
    ("licenses", "allowed"),
    [
        ("Apache-2.0", True),
        ("apache-2.0", True),
        ("Apache-2.0 AND MIT", True),
        ("GPL-3.0-only OR MIT", True),
        ("(GPL-3.0-only OR MIT) AND Apache-2.0", True),
        ("MIT AND GPL-3.0-only OR Apache-2.0", True),
        ("GPL-3.0-only", False),
        ("Apache-2.0 AND GPL-3.0-only", False),
        ("MIT AND (GPL-3.0-only OR LicenseRef-x)", False),
        ("MIT WITH Autoconf-exception-2.0", False),
        ("MIT AND", False),
        ("MIT MIT", False),
        ("(MIT", False),
        ("MIT)", False),
        ("MIT; rm", False),
        ("OR", False),
        ("(" * 3000 + "MIT" + ")" * 3000, False),
        ("MIT AND " * 2000 + "MIT", False),
    ],
)
def test_licenses(licenses: str, allowed: bool) -> None:
    policy = model_policy(licenses={"allowed": ["Apache-2.0", "MIT"]})
    assert decide(policy, image=said(licenses=licenses)).allowed is allowed


def test_denied_licenses_win_and_undeclared_ones_are_no() -> None:
    policy = model_policy(licenses={"denied": ["LicenseRef-gemma"]})
    assert decide(policy, image=said(licenses="MIT")).allowed
    assert not decide(policy, image=said(licenses="licenseref-GEMMA")).allowed
    assert "no licence" in decide(policy).reasons[0]
    both = model_policy(licenses={"allowed": ["MIT", "ISC"], "denied": ["MIT"]})
    assert decide(both, image=said(licenses="ISC")).allowed
    assert not decide(both, image=said(licenses="MIT")).allowed


def test_a_licence_counts_wherever_in_the_image_it_stands() -> None:
    key = "org.opencontainers.image.licenses"
    image = replace(IMAGE, annotations=({key: "MIT"}, {key: "GPL-3.0-only"}))
    assert not decide(model_policy(licenses={"allowed": ["MIT"]}), image=image).allowed


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_sources() -> None:
    policy = model_policy(sources={"allowed": [{"repository": "acme/*"}, {"repository": "x/y", "revision": COMMIT}]})
    assert decide(policy, image=said(repo="acme/llm", revision=COMMIT)).allowed
    assert decide(policy, image=said(repo="x/y", revision=COMMIT)).allowed
    for image in (
        said(repo="x/y", revision="f" * 40),
        said(repo="acme-evil/llm", revision=COMMIT),
        said(repo="evil/acme/llm", revision=COMMIT),
        said(repo="acme/llm/x", revision=COMMIT),
        said(repo="Acme/llm", revision=COMMIT),
        said(repo="acme/llm", revision="main"),
        said(repo="acme/llm", revision=COMMIT + "\n"),
        said(repo="acme/llm"),
        said(revision=COMMIT),
        replace(
            IMAGE, annotations=(said(repo="acme/llm", revision=COMMIT).annotations[0], said(repo="e/f").annotations[0])
        ),
    ):
        assert not decide(policy, image=image).allowed


def test_denied_digests() -> None:
    layer = Digest.of(b"layer")
    image = replace(IMAGE, contents={layer: "a layer"})
    for digest in (DIGEST, layer):
        assert not decide(model_policy(deniedDigests=[str(digest)]), image=image).allowed
    assert decide(model_policy(deniedDigests=[str(Digest.of(b"x"))]), image=image).allowed


def scanned(*evidence: Evidence, **changes: Any) -> Decision:
    rule = {**scan_rule(SCANNER), **changes}
    return decide(model_policy(scan=rule), evidence=together(*evidence))


def test_a_clean_verdict_by_the_scanner() -> None:
    decision = scanned(SCANNER.finds("clean"))
    assert decision.allowed
    assert decision.policies[0].authorities[0].signers == (f"key {SCANNER.key.public.fingerprint}",)


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        (Evidence(), "no attestation"),
        (MALLORY.finds("clean"), "another key"),
        (SCANNER.finds("clean", Digest.of(b"other")), "it is about"),
        (SCANNER.signs(), "statement of type"),
        (SCANNER.states(SCAN_VERDICT + "/", {"verdict": "clean"}), "statement of type"),
        (SCANNER.finds("unverified"), "came to no verdict"),
        (SCANNER.finds("CLEAN"), "verdict.verdict is 'CLEAN'"),
        (SCANNER.finds("clean", scannedAt="2026-11-14T11:59:59Z"), "days old"),
        (SCANNER.finds("clean", scannedAt="2026-11-21T13:00:00Z"), "in the future"),
        (SCANNER.finds("clean", scannedAt="2026-11-20"), "not an RFC 3339 time"),
        (SCANNER.finds("clean", scannedAt="2026-11-20T12:00:00"), "not an RFC 3339 time"),
        (SCANNER.finds("clean", scannedAt="2026-13-20T12:00:00Z"), "not a time"),
        (SCANNER.finds("clean", scannedAt="0001-01-01T00:00:00+23:59"), "not a time"),
        (SCANNER.finds("clean", scannedAt=None), "scannedAt is missing"),
        (SCANNER.finds("clean", ruleSet=None), "ruleSet is missing"),
        (SCANNER.finds("clean", ruleSet={"name": "modelcar", "version": "2026.10.31"}), "is the least"),
        (SCANNER.finds("clean", ruleSet={"name": "other", "version": "2027"}), "is the least"),
        (SCANNER.finds("clean", ruleSet={"name": "modelcar", "version": "2026.11-rc1"}), "numbers and dots"),
        (SCANNER.finds("clean", ruleSet={"name": "modelcar", "version": "9" * 5000}), "numbers and dots"),
    ],
)
def test_what_is_not_clean_enough(evidence: Evidence, reason: str) -> None:
    decision = scanned(evidence)
    assert not decision.allowed
    assert reason in decision.reasons[0]


@pytest.mark.parametrize("version", ["2026.11", "2026.11.0", "2026.12", "2027", "2026.011"])
def test_rule_sets_that_are_new_enough(version: str) -> None:
    assert scanned(SCANNER.finds("clean", ruleSet={"name": "modelcar", "version": version})).allowed


def test_the_newest_verdict_counts() -> None:
    old, new = "2026-11-19T00:00:00Z", "2026-11-20T00:00:00+00:00"
    assert scanned(SCANNER.finds("unverified", scannedAt=old), SCANNER.finds("clean", scannedAt=new)).allowed
    assert not scanned(SCANNER.finds("clean", scannedAt=old), SCANNER.finds("unverified", scannedAt=new)).allowed


@pytest.mark.parametrize(
    "malicious",
    [
        SCANNER.finds("malicious"),
        SCANNER.finds("malicious", scannedAt="2020-01-01T00:00:00Z", ruleSet={"name": "old", "version": "0"}),
        SCANNER.states(SCAN_VERDICT, {"verdict": "malicious"}),
    ],
)
def test_malicious_wins_however_old_and_by_whatever_rules(malicious: Evidence) -> None:
    for order in ((SCANNER.finds("clean"), malicious), (malicious, SCANNER.finds("clean"))):
        decision = scanned(*order)
        assert not decision.allowed
        assert "found it malicious" in decision.reasons[0]


def test_malicious_by_a_stranger_is_noise() -> None:
    assert scanned(SCANNER.finds("clean"), MALLORY.finds("malicious")).allowed


def test_any_of_several_scanners_suffices_and_any_can_say_malicious() -> None:
    rule = model_policy(scan=scan_rule(SCANNER, OTHER))
    assert decide(rule, evidence=OTHER.finds("clean")).allowed
    assert not decide(rule, evidence=together(SCANNER.finds("clean"), OTHER.finds("malicious"))).allowed


def test_malicious_about_a_manifest_inside_counts_and_clean_about_it_does_not() -> None:
    inside = Digest.of(b"linux/amd64")
    rule = model_policy(scan=scan_rule(SCANNER))
    bad = decide(rule, evidence=SCANNER.finds("clean"), more={inside: SCANNER.finds("malicious", inside)})
    assert not bad.allowed
    assert not decide(rule, more={inside: SCANNER.finds("clean", inside)}).allowed
    assert decide(rule, evidence=SCANNER.finds("clean"), more={inside: SCANNER.finds("clean", inside)}).allowed


def test_a_scanner_that_cannot_be_asked_might_have_said_malicious() -> None:
    rule = scan_rule(SCANNER)
    rule["authorities"].append({"name": "hsm", "key": {"kms": "awskms:///k"}})
    decision = decide(model_policy(scan=rule), evidence=SCANNER.finds("clean"))
    assert not decision.allowed
    assert "verdicts by hsm cannot be checked" in decision.reasons[0]


def test_all_that_is_wrong_is_said_at_once_and_warn_mode_warns() -> None:
    spec: dict[str, Any] = {"formats": {"allowed": ["gguf"]}, "customCode": "deny", "licenses": {"allowed": ["MIT"]}}
    decision = decide(model_policy(**spec))
    assert len(decision.reasons) == 3
    warned = decide(model_policy(**spec, mode="warn"))
    assert warned.allowed
    assert warned.warnings == decision.reasons


def test_a_scan_is_not_younger_than_its_signature() -> None:
    """A verdict that is dated later than it was signed was dated by hand."""
    signed_at = datetime(2026, 11, 1, tzinfo=UTC)
    statement = Verified(
        digest=DIGEST,
        predicate_type=SCAN_VERDICT,
        predicate=verdict_predicate("clean"),
        signer=Signer(),
        signed_at=signed_at,
        format="bundle",
    )
    verdict = parse_verdict(statement)
    assert verdict is not None
    assert verdict.scanned_at == signed_at
    later = parse_verdict(replace(statement, signed_at=datetime(2026, 12, 1, tzinfo=UTC)))
    assert later is not None
    assert later.scanned_at == datetime(2026, 11, 20, 12, tzinfo=UTC)
