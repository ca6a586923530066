"""Policies over identities, with real certificates of a Sigstore made for the test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from modelcar.signing.bundle import parse_bundle
from modelcar.signing.keyless.trust import TrustSource
from modelcar.signing.policy import KnownAuthorities, authorities_under
from modelcar.signing.statement import COSIGN_SIGN, Statement
from modelcar.signing.verified import Evidence
from tests.support.policies import DIGEST, cluster_image_policy, decide
from tests.support.sigstore import Sigstore, trusted_root
from tests.support.sigstore.instance import ISSUER, Options

WORKFLOW = "https://github.com/acme/models/.github/workflows/release.yaml@refs/tags/v1"
EXPRESSION = r"https://github\.com/acme/models/.*"


@pytest.fixture(scope="module")
def sigstore() -> Sigstore:
    return Sigstore()


@pytest.fixture
def root(tmp_path: Path, sigstore: Sigstore) -> TrustSource:
    path = tmp_path / "root.json"
    path.write_text(trusted_root(sigstore))
    return TrustSource(trusted_root=path)


def signed(sigstore: Sigstore, subject: str = WORKFLOW, issuer: str = ISSUER) -> Evidence:
    options = Options(names=(x509.UniformResourceIdentifier(subject),), issuer=issuer, issuer_v2=issuer)
    payload = Statement.about(DIGEST, COSIGN_SIGN).to_bytes()
    return Evidence(bundles=(parse_bundle(json.dumps(sigstore.bundle(payload, options)).encode()),))


def policy(*, keyless: dict[str, Any] | None = None, **identity: Any) -> dict[str, Any]:
    return cluster_image_policy({"keyless": {"identities": [{"issuer": ISSUER, **identity}], **(keyless or {})}})


@pytest.fixture
def known(root: TrustSource) -> KnownAuthorities:
    return authorities_under(root, {"internal": root, "https://fulcio.acme.example/": root})


@pytest.mark.parametrize("identity", [{"subject": WORKFLOW}, {"subjectRegExp": EXPRESSION}])
def test_who_is_named_and_who_looks_like_it(
    sigstore: Sigstore, known: KnownAuthorities, identity: dict[str, Any]
) -> None:
    decision = decide(policy(**identity), evidence=signed(sigstore), authorities=known)
    assert decision.allowed
    assert decision.policies[0].authorities[0].signers == (f"{WORKFLOW} ({ISSUER})",)
    for evidence in (
        signed(sigstore, subject=WORKFLOW.replace("acme", "acme-evil")),
        signed(sigstore, subject="https://evil.example/?" + WORKFLOW),
        signed(sigstore, issuer=ISSUER + ".evil.example"),
    ):
        denied = decide(policy(**identity), evidence=evidence, authorities=known)
        assert not denied.allowed
        assert "signed by" in denied.reasons[0]


def test_the_root_of_trust_is_the_one_that_the_policy_names(sigstore: Sigstore, known: KnownAuthorities) -> None:
    for keyless, allowed in [
        ({"trustRootRef": "internal"}, True),
        ({"url": "https://fulcio.acme.example"}, True),
        ({"url": "https://fulcio.acme.example/"}, True),
        ({"trustRootRef": "other"}, False),
        ({"url": "https://fulcio.evil.example"}, False),
    ]:
        decision = decide(policy(subject=WORKFLOW, keyless=keyless), evidence=signed(sigstore), authorities=known)
        assert decision.allowed is allowed, keyless
    foreign = decide(policy(subject=WORKFLOW), evidence=signed(Sigstore()), authorities=known)
    assert not foreign.allowed


def test_logs_that_the_root_of_trust_answers_for(sigstore: Sigstore, known: KnownAuthorities) -> None:
    base = policy(subject=WORKFLOW, keyless={"trustRootRef": "internal"})
    for ctlog, allowed in [
        ({"url": "https://rekor.sigstore.dev"}, True),
        ({"trustRootRef": "internal"}, True),
        ({"trustRootRef": "other"}, False),
    ]:
        authority = {**base["spec"]["authorities"][0], "ctlog": ctlog}
        decision = decide(cluster_image_policy(authority), evidence=signed(sigstore), authorities=known)
        assert decision.allowed is allowed, ctlog


def test_a_key_is_no_identity_and_an_identity_no_key(sigstore: Sigstore, known: KnownAuthorities) -> None:
    from tests.support.policies import Someone

    someone = Someone()
    by_identity, by_key = policy(subject=WORKFLOW), cluster_image_policy(someone.authority)
    assert not decide(by_identity, evidence=someone.signs(), authorities=known).allowed
    assert not decide(by_key, evidence=signed(sigstore), authorities=known).allowed


def test_a_root_of_trust_that_is_none_denies_with_the_reason(tmp_path: Path, sigstore: Sigstore) -> None:
    (tmp_path / "root.json").write_text("{}")
    known = authorities_under(TrustSource(trusted_root=tmp_path / "root.json"))
    decision = decide(policy(subject=WORKFLOW), evidence=signed(sigstore), authorities=known)
    assert not decision.allowed
    assert "root.json" in decision.reasons[0]
