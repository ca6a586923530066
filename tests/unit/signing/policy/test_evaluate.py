"""Decisions about signatures: policies and, authorities or, and nothing that cannot be evaluated is a pass."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from modelcar.errors import Denied, WorldError
from modelcar.oci import Digest, Reference
from modelcar.signing.policy import Default, ImageFacts, KnownAuthorities, Workload
from modelcar.signing.policy.trust import KeyTrust, Trust
from modelcar.signing.statement import COSIGN_SIGN
from modelcar.signing.verified import Authority, Evidence
from tests.support.policies import (
    DIGEST,
    IMAGE,
    REFERENCE,
    Someone,
    cluster_image_policy,
    decide,
    deny_list,
    model_policy,
    together,
)

ALICE, BOB, MALLORY = Someone(), Someone(), Someone()
PASS, FAIL = {"static": {"action": "pass"}}, {"static": {"action": "fail", "message": "closed"}}
DEFAULTS: tuple[Default, ...] = ("deny", "allow")
SLSA = "https://slsa.dev/provenance/v1"


def named(someone: Someone, name: str, **fields: Any) -> dict[str, Any]:
    return {**someone.authority, "name": name, **fields}


@pytest.mark.parametrize("legacy", [False, True])
def test_a_signature_by_the_key_is_allowed_and_another_is_not(legacy: bool) -> None:
    policy = cluster_image_policy(ALICE.authority)
    good = decide(policy, evidence=ALICE.signs_legacy() if legacy else ALICE.signs())
    assert good.allowed
    assert good.policies[0].authorities[0].signers == (f"key {ALICE.key.public.fingerprint}",)
    bad = decide(policy, evidence=MALLORY.signs_legacy() if legacy else MALLORY.signs())
    assert not bad.allowed
    assert "another key" in bad.reasons[0]


@pytest.mark.parametrize(
    "evidence",
    [
        Evidence(),
        ALICE.signs(Digest.of(b"another image")),
        ALICE.signs_legacy(Digest.of(b"another image")),
        ALICE.states(SLSA, {}),
        ALICE.states("https://modelcar.dev/scan/v1", {"verdict": "malicious"}),
        Evidence(unreadable=("damaged",)),
        replace(
            ALICE.signs(), bundles=(replace(ALICE.signs().bundles[0], envelope=MALLORY.signs().bundles[0].envelope),)
        ),
    ],
)
def test_what_is_no_signature_over_this_image(evidence: Evidence) -> None:
    decision = decide(cluster_image_policy(ALICE.authority), evidence=evidence)
    assert not decision.allowed
    assert decision.reasons[0].startswith("ClusterImagePolicy policy: authority someone: ")


def test_a_signature_in_another_format_than_asked_for() -> None:
    for form, evidence, allowed in [
        ("bundle", ALICE.signs(), True),
        ("bundle", ALICE.signs_legacy(), False),
        ("legacy", ALICE.signs_legacy(), True),
        ("legacy", ALICE.signs(), False),
    ]:
        policy = cluster_image_policy(named(ALICE, "a", signatureFormat=form))
        assert decide(policy, evidence=evidence).allowed is allowed


def test_what_one_form_lacks_the_other_may_have() -> None:
    """In one evaluation: an answer about one form is none about the other."""
    legacy, bundle = named(ALICE, "l", signatureFormat="legacy"), named(ALICE, "b", signatureFormat="bundle")
    for authorities in ((legacy, bundle), (bundle, legacy)):
        decision = decide(cluster_image_policy(*authorities), evidence=ALICE.signs())
        assert {a.name: a.satisfied for a in decision.policies[0].authorities} == {"l": False, "b": True}


def test_evidence_beside_another_manifest_does_not_count() -> None:
    other = Digest.of(b"another image")
    decision = decide(cluster_image_policy(ALICE.authority), more={other: together(ALICE.signs(), ALICE.signs(other))})
    assert not decision.allowed


def test_authorities_or() -> None:
    policy = cluster_image_policy(named(ALICE, "a"), named(BOB, "b"))
    assert decide(policy, evidence=BOB.signs()).allowed
    assert decide(policy, evidence=ALICE.signs()).allowed
    denied = decide(policy, evidence=MALLORY.signs())
    assert [reason.split(": ")[1] for reason in denied.reasons] == ["authority a", "authority b"]


def test_policies_and() -> None:
    policies = (cluster_image_policy(ALICE.authority, name="one"), cluster_image_policy(BOB.authority, name="two"))
    assert decide(*policies, evidence=together(ALICE.signs(), BOB.signs())).allowed
    only_one = decide(*policies, evidence=ALICE.signs())
    assert not only_one.allowed
    assert [p.satisfied for p in only_one.policies] == [True, False]


def test_static() -> None:
    assert decide(cluster_image_policy(PASS)).allowed
    denied = decide(cluster_image_policy(FAIL))
    assert denied.reasons == ("ClusterImagePolicy policy: authority authority-0: the policy forbids it: closed",)
    assert decide(cluster_image_policy(FAIL, PASS)).allowed
    assert not decide(cluster_image_policy(FAIL, name="a"), cluster_image_policy(PASS, name="b")).allowed


def test_an_image_that_no_policy_matches() -> None:
    elsewhere = cluster_image_policy(PASS, images=[{"glob": "ghcr.io/**"}])
    denied = decide(elsewhere)
    assert not denied.allowed
    assert "the default is to deny" in denied.reasons[0]
    assert decide(elsewhere, default="allow").allowed
    assert denied.policies == ()


def test_warn_mode_warns_with_the_same_reasons() -> None:
    enforced = decide(cluster_image_policy(ALICE.authority))
    warned = decide(cluster_image_policy(ALICE.authority, mode="warn"))
    assert warned.allowed
    assert warned.warnings == enforced.reasons != ()
    assert decide(cluster_image_policy(ALICE.authority, mode="warn"), evidence=ALICE.signs()).warnings == ()


def test_attestations_are_wanted_by_their_type_and_all_of_them() -> None:
    wanted = [{"name": "p", "predicateType": "slsaprovenance1"}, {"name": "c", "predicateType": "cyclonedx"}]
    policy = cluster_image_policy(named(ALICE, "a", attestations=wanted))
    provenance, sbom = ALICE.states(SLSA, {}), ALICE.states("https://cyclonedx.org/bom", {})
    assert decide(policy, evidence=together(provenance, sbom)).allowed
    for evidence in (
        provenance,
        sbom,
        ALICE.signs(),
        together(provenance, MALLORY.states("https://cyclonedx.org/bom", {})),
        together(provenance, ALICE.states("https://cyclonedx.org/bom", {}, Digest.of(b"other"))),
        together(provenance, ALICE.states("https://cyclonedx.org/bom/", {})),
    ):
        assert not decide(policy, evidence=evidence).allowed


@pytest.mark.parametrize(
    ("authority", "reason"),
    [
        ({"key": {"secretRef": {"name": "k"}}}, "the cluster's secret cosign-system/k is not at hand"),
        ({"key": {"kms": "awskms:///alias/k"}}, "the key service awskms:///alias/k is not at hand"),
        ({"key": {"data": ALICE.pem, "hashAlgorithm": "sha512"}}, "hashAlgorithm sha512 is not checked"),
        ({"key": {"data": ALICE.pem}, "ctlog": {"url": "https://rekor.sigstore.dev"}}, "transparency log"),
        ({"key": {"data": ALICE.pem}, "rfc3161timestamp": {"trustRootRef": "t"}}, "asks for a timestamp"),
        ({"key": {"data": ALICE.pem}, "source": [{"oci": "ghcr.io/signatures"}]}, "signatures at ghcr.io/signatures"),
        ({"key": {"data": ALICE.pem}, "source": [{"tagPrefix": "x-"}]}, "signatures at tags that begin with x-"),
        (
            {"keyless": {"identities": [{"issuer": "i", "subject": "s"}]}},
            "no root of trust is known for https://fulcio",
        ),
        ({"keyless": {"identities": [{"issuer": "i", "subject": "s"}], "trustRootRef": "r"}}, "is known for r"),
        ({"keyless": {"identities": [{"issuer": "i", "subject": "s"}], "ca-cert": {"data": ALICE.pem}}}, "ca-cert"),
        (
            {
                "key": {"data": ALICE.pem},
                "attestations": [
                    {"name": "a", "predicateType": COSIGN_SIGN, "policy": {"type": "cue", "data": "{}"}},
                ],
            },
            "the cue policy of attestation a cannot be evaluated",
        ),
    ],
)
def test_what_cannot_be_checked_here_is_never_satisfied(authority: dict[str, Any], reason: str) -> None:
    decision = decide(cluster_image_policy(authority), evidence=ALICE.signs())
    assert not decision.allowed
    assert reason in decision.reasons[0]
    beside = decide(cluster_image_policy({"name": "bad", **authority}, named(ALICE, "good")), evidence=ALICE.signs())
    assert beside.allowed, "another authority is enough"


def test_a_policy_body_is_never_satisfied() -> None:
    body = {"type": "rego", "data": "package sigstore\nisCompliant { true }"}
    decision = decide(cluster_image_policy(ALICE.authority, policy=body), evidence=ALICE.signs())
    assert not decision.allowed
    assert "rego policy cannot be evaluated" in decision.reasons[0]
    warned = decide(cluster_image_policy(ALICE.authority, policy=body, mode="warn"), evidence=ALICE.signs())
    assert warned.allowed
    assert "rego policy cannot be evaluated" in warned.warnings[0]


def test_keys_from_elsewhere_can_be_handed_in() -> None:
    from modelcar.signing.keys.authority import KeyAuthority

    known = KnownAuthorities(services={"awskms:///alias/k": KeyAuthority([ALICE.key.public])})
    policy = cluster_image_policy({"key": {"kms": "awskms:///alias/k"}})
    assert decide(policy, evidence=ALICE.signs(), authorities=known).allowed
    assert not decide(policy, evidence=MALLORY.signs(), authorities=known).allowed


def test_an_authority_that_fails_denies_and_stops_no_other() -> None:
    class Broken:
        def find(self, trust: Trust) -> Authority:
            if isinstance(trust, KeyTrust) and trust.kms:
                raise WorldError("the service is down")
            return KnownAuthorities().find(trust)

    policy = cluster_image_policy({"name": "kms", "key": {"kms": "awskms:///k"}})
    down = decide(policy, authorities=Broken())
    assert "the service is down" in down.reasons[0]
    both = cluster_image_policy({"name": "kms", "key": {"kms": "awskms:///k"}}, named(ALICE, "a"))
    assert decide(both, authorities=Broken(), evidence=ALICE.signs()).allowed


@pytest.mark.parametrize("what", [DIGEST, Digest.of(b"a layer"), Digest.of(b"a file"), Digest.of(b"index asked for")])
def test_a_deny_list_wins_over_everything(what: Digest) -> None:
    image = ImageFacts(
        reference=replace(REFERENCE, digest=Digest.of(b"index asked for")),
        digest=DIGEST,
        contents={Digest.of(b"a layer"): "a layer", Digest.of(b"a file"): "the file x"},
    )
    policies = (
        cluster_image_policy(PASS, name="a"),
        cluster_image_policy(ALICE.authority, name="b", mode="warn"),
        model_policy(mode="warn", customCode="deny"),
    )
    for default in DEFAULTS:
        revoked = decide(*policies, deny_list(what), image=image, evidence=ALICE.signs(), default=default)
        assert not revoked.allowed
        assert "revoked" in revoked.reasons[0]
        assert str(what) in revoked.reasons[0]
        unrelated = deny_list(Digest.of(b"something else"))
        assert decide(*policies, unrelated, image=image, evidence=ALICE.signs(), default=default).allowed


def test_a_deny_list_of_its_own() -> None:
    assert not decide(deny_list(DIGEST), default="allow").allowed
    assert decide(deny_list(Digest.of(b"x")), default="allow").allowed
    assert not decide(deny_list(Digest.of(b"x"))).allowed, "it is no policy that speaks about the image"


PODS = [{"version": "v1", "resource": "pods", "selector": {"matchLabels": {"app": "llm"}}}]


def test_match_confines_a_policy_to_workloads() -> None:
    pod = Workload(group="", version="v1", resource="pods", labels={"app": "llm"})
    confined = cluster_image_policy(FAIL, name="pods", match=PODS)
    rest = cluster_image_policy(PASS, name="rest")
    assert not decide(confined, rest, image=replace(IMAGE, workload=pod)).allowed
    assert decide(confined, rest, image=replace(IMAGE, workload=replace(pod, labels={}))).allowed
    assert decide(confined, rest, image=replace(IMAGE, workload=replace(pod, resource="jobs"))).allowed


def test_where_the_workload_is_not_known_a_confined_policy_can_only_deny() -> None:
    assert not decide(cluster_image_policy(FAIL, match=PODS), cluster_image_policy(PASS, name="rest")).allowed
    opened = decide(cluster_image_policy(PASS, match=PODS))
    assert not opened.allowed
    assert "only policies with `match`" in opened.reasons[0]
    assert decide(cluster_image_policy(PASS, match=PODS), default="allow").allowed
    assert decide(cluster_image_policy(PASS, match=PODS), cluster_image_policy(PASS, name="rest")).allowed


def test_reasons_and_documents() -> None:
    decision = decide(cluster_image_policy(named(ALICE, "a"), name="signed"))
    with pytest.raises(Denied, match=f"{REFERENCE} is denied") as caught:
        decision.require()
    assert caught.value.reasons == decision.reasons
    assert decision.reasons[0].startswith("ClusterImagePolicy signed: authority a: ")
    assert caught.value.exit_status == 1
    document = decision.to_dict()
    assert document["allowed"] is False
    assert document["image"] == str(REFERENCE)
    assert document["policies"][0]["authorities"][0]["name"] == "a"
    decide(cluster_image_policy(PASS)).require()


def test_a_tag_decides_only_where_it_was_resolved() -> None:
    policy = cluster_image_policy(PASS, images=[{"glob": "registry.example.com/models/llm:v1"}])
    assert decide(policy).allowed
    forged = Reference.parse(f"registry.example.com/models/llm:v1@{DIGEST}")
    assert not decide(policy, image=replace(IMAGE, reference=forged)).allowed
