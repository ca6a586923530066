"""Identities: who signed, not who looks like it."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from modelcar.errors import NotVerified, UsageError
from modelcar.signing.dsse import Envelope
from modelcar.signing.policy.fields import ClosedFields
from modelcar.signing.policy.identities import Identity, IdentityAuthority, parse_identities
from modelcar.signing.regexes import Regex
from modelcar.signing.verified import Bundle, Signer, SimpleSignature

GITHUB = "https://token.actions.githubusercontent.com"
SUBJECT = "https://github.com/acme/models/.github/workflows/release.yaml@refs/tags/v1"


def parsed(**fields: Any) -> Identity:
    return parse_identities(ClosedFields({"identities": [fields]}, "f", ("identities",)))[0]


def test_exact_identity_and_its_negative_twins() -> None:
    identity = parsed(issuer=GITHUB, subject=SUBJECT)
    assert identity.mismatch(Signer(identity=SUBJECT, issuer=GITHUB)) is None
    for other in (SUBJECT[:-1], SUBJECT + "0", SUBJECT.upper(), "x" + SUBJECT):
        assert "subject" in (identity.mismatch(Signer(identity=other, issuer=GITHUB)) or "")
    assert "issuer" in (identity.mismatch(Signer(identity=SUBJECT, issuer=GITHUB + ".evil.example")) or "")
    assert "key" in (identity.mismatch(Signer(fingerprint="sha256:00")) or "")


@pytest.mark.parametrize(
    "look_alike",
    [
        "https://evil.example/?https://github.com/acme/models",
        "https://github.com/acme/models.evil.example",
        "https://github.com/acme/models\nhttps://evil.example",
        "https://github.com/acme/models-evil",
    ],
)
def test_an_unanchored_expression_lets_no_look_alike_pass(look_alike: str) -> None:
    identity = parsed(issuer=GITHUB, subjectRegExp=r"https://github\.com/acme/models")
    assert identity.mismatch(Signer(identity="https://github.com/acme/models", issuer=GITHUB)) is None
    reason = identity.mismatch(Signer(identity=look_alike, issuer=GITHUB))
    assert reason is not None
    assert "a part of the subject only" in reason


def test_an_expression_is_gos() -> None:
    assert Regex(r"\Qa.b\E\pL+\z").matches("a.bé")
    assert not Regex(r"\Qa.b\E").matches("axb")
    assert Regex(r"^(?i)abc$").matches("ABC")
    assert not Regex(r"a|ab").matches("abc")  # an alternative does not escape the anchors
    assert Regex(r"a|ab").matches("ab")
    assert not Regex(r"a$").matches("a\n")


def test_no_expression_takes_long() -> None:
    assert not Regex(r"(a+)+b").matches("a" * 8000)
    assert not Regex(r"(.*)*(.*)*x").matches("a" * 8000)


def test_long_texts_do_not_match() -> None:
    assert not Regex(".*").matches("a" * 9000)
    assert not Regex(".*").occurs_in("a" * 9000)


def test_without_re2_only_exact_identities_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    with pytest.raises(UsageError, match="google-re2") as caught:
        Regex(".*")
    assert "modelcar[keyless]" in str(caught.value.hint)
    assert parsed(issuer=GITHUB, subject=SUBJECT).mismatch(Signer(identity=SUBJECT, issuer=GITHUB)) is None


@pytest.mark.parametrize("pattern", ["(", "(?=a)", r"\1(a)", "a{2000}", "[", "(((a{99}){99}){99})", "x" * 5000])
def test_what_is_not_an_expression(pattern: str) -> None:
    with pytest.raises(UsageError, match="regular expression"):
        Regex(pattern)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"issuer": GITHUB}, r"subject \| subjectRegExp is missing"),
        ({"subject": SUBJECT}, r"issuer \| issuerRegExp is missing"),
        ({"issuer": GITHUB, "subject": ""}, "subject is missing"),
        ({"issuer": GITHUB, "issuerRegExp": ".*", "subject": SUBJECT}, "issuer excludes"),
        ({"issuer": GITHUB, "subject": SUBJECT, "subjectRegExp": ".*"}, "subject excludes"),
        ({"issuer": GITHUB, "subjectRegexp": ".*"}, "subjectRegexp is not a field"),
        ({"issuer": GITHUB, "subjectRegExp": "("}, "subjectRegExp"),
        ({"issuer": 1, "subject": SUBJECT}, "issuer is not text"),
    ],
)
def test_malformed_identities(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError, match=problem) as caught:
        parsed(**fields)
    assert str(caught.value).startswith("f.identities[0].")


class Vouching:
    """Says of everything that the same signer signed it."""

    def __init__(self, signer: Signer) -> None:
        self._answer = (signer, None)

    def verify_bundle(self, bundle: Bundle) -> tuple[Signer, None]:
        return self._answer

    def verify_simple(self, signature: SimpleSignature) -> tuple[Signer, None]:
        return self._answer

    def verify_envelope(self, envelope: Envelope) -> tuple[Signer, None]:
        return self._answer


def test_an_authority_takes_any_of_its_identities_and_no_other() -> None:
    identities = (parsed(issuer=GITHUB, subject="other"), parsed(issuer=GITHUB, subject=SUBJECT))
    envelope = Envelope(payload=b"", payload_type="x", signatures=(b"",))
    signature = SimpleSignature(payload=b"", signature=b"", annotations={})
    bundle = Bundle(raw=b"", envelope=envelope)
    good = IdentityAuthority(Vouching(Signer(identity=SUBJECT, issuer=GITHUB)), identities)
    assert good.verify_bundle(bundle)[0].identity == SUBJECT
    assert good.verify_simple(signature)[0].identity == SUBJECT
    assert good.verify_envelope(envelope)[0].identity == SUBJECT
    for signer in (Signer(identity="evil", issuer=GITHUB), Signer(fingerprint="sha256:00")):
        bad = IdentityAuthority(Vouching(signer), identities)
        with pytest.raises(NotVerified, match="signed by"):
            bad.verify_bundle(bundle)
        with pytest.raises(NotVerified, match="signed by"):
            bad.verify_simple(signature)
        with pytest.raises(NotVerified, match="signed by"):
            bad.verify_envelope(envelope)


def test_an_authority_without_identities_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="needs an identity"):
        IdentityAuthority(Vouching(Signer()), ())
