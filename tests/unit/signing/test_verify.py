"""Verification: every acceptance beside its twin with one bit changed, and the attacks that matter."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelcar.errors import NotVerified
from modelcar.oci import Digest
from modelcar.signing import verify
from modelcar.signing.bundle import parse_bundle
from modelcar.signing.dsse import IN_TOTO, Envelope, pre_authentication_encoding
from modelcar.signing.signatory import KeySignatory
from modelcar.signing.simplesigning import simple_payload
from modelcar.signing.statement import COSIGN_SIGN, Statement, Subject
from modelcar.signing.verified import Bundle, Evidence, SimpleSignature
from modelcar.signing.verify import verify_attestation, verify_attestations, verify_signature
from tests.support.signing import KEY, OTHER_KEY, REPOSITORY, SignedImage, authority, flip, signed_image, tamper

SCAN = "https://modelcar.dev/scan/v1"
ELSEWHERE = Digest("sha256", "00" * 32)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> SignedImage:
    return signed_image(tmp_path_factory.mktemp("layout") / "l")


@pytest.fixture(scope="module")
def evidence(image: SignedImage) -> Evidence:
    return image.evidence


def attested(digest: Digest, predicate_type: str, predicate: dict[str, Any], key: Any = KEY) -> Bundle:
    return KeySignatory(key).sign_statement(Statement.about(digest, predicate_type, predicate))


def envelope(statement: bytes, *, payload_type: str = IN_TOTO, key: Any = KEY) -> Envelope:
    signature = key.sign(pre_authentication_encoding(payload_type, statement))
    return Envelope(payload=statement, payload_type=payload_type, signatures=(signature,))


def refused(digest: Digest, evidence: Evidence, **who: Any) -> tuple[str, ...]:
    """The reasons, after making sure that it is refused."""
    with pytest.raises(NotVerified) as raised:
        verify_signature(digest=digest, evidence=evidence, authority=who.get("authority", authority()))
    assert str(digest) in str(raised.value)
    return raised.value.reasons


# Signatures


def test_a_bundle(image: SignedImage, evidence: Evidence) -> None:
    only = Evidence(bundles=evidence.bundles)
    found = verify_signature(digest=image.digest, evidence=only, authority=authority())
    assert (found.digest, found.predicate_type, found.format) == (image.digest, COSIGN_SIGN, "bundle")
    assert found.signer.fingerprint == KEY.public.fingerprint
    assert found.signed_at is None


def test_a_legacy_signature(image: SignedImage, evidence: Evidence) -> None:
    only = Evidence(simple=evidence.simple)
    found = verify_signature(digest=image.digest, evidence=only, authority=authority())
    assert (found.digest, found.format, found.signer.fingerprint) == (image.digest, "legacy", KEY.public.fingerprint)


def test_any_of_several_keys(image: SignedImage, evidence: Evidence) -> None:
    found = verify_signature(digest=image.digest, evidence=evidence, authority=authority(OTHER_KEY, KEY))
    assert found.signer.fingerprint == KEY.public.fingerprint


def test_another_key(image: SignedImage, evidence: Evidence) -> None:
    reasons = refused(image.digest, evidence, authority=authority(OTHER_KEY))
    assert len(reasons) == 2
    assert reasons[0].startswith(f"bundle 1 (says it is by key {KEY.public.fingerprint}): it is signed by another key")
    assert reasons[1].startswith("legacy signature 1: it is signed by another key")


@pytest.mark.parametrize("bit", range(0, 560, 37))
def test_one_bit_of_anything_signed(image: SignedImage, evidence: Evidence, bit: int) -> None:
    (bundle,), (simple,) = evidence.bundles, evidence.simple
    signed = bundle.envelope
    for changed in (
        replace(signed, payload=flip(signed.payload, bit)),
        replace(signed, signatures=(flip(signed.signatures[0], bit),)),
        replace(signed, payload_type=flip(b"application/vnd.in-toto+json", bit % 200).decode("latin-1")),
    ):
        refused(image.digest, Evidence(bundles=(replace(bundle, envelope=changed),)))
    refused(image.digest, Evidence(simple=(replace(simple, payload=flip(simple.payload, bit)),)))
    refused(image.digest, Evidence(simple=(replace(simple, signature=flip(simple.signature, bit)),)))


def set_to(*path: str | int, to: Any) -> Callable[[Any], None]:
    def change(data: Any) -> None:
        for name in path[:-1]:
            data = data[name]
        data[path[-1]] = to

    return change


@pytest.mark.parametrize(
    "change",
    [
        set_to("_type", to="https://in-toto.io/Statement/v0.1"),
        set_to("predicateType", to=SCAN),
        set_to("predicate", to={"a": 1}),
        set_to("subject", 0, "digest", "sha256", to="00" * 32),
        set_to("subject", 0, "name", to="x"),
        set_to("subject", to=[]),
        set_to("extra", to=1),
    ],
)
def test_every_field_of_the_statement(image: SignedImage, evidence: Evidence, change: Callable[[Any], None]) -> None:
    changed = parse_bundle(tamper(evidence.bundles[0].raw, change, at="payload"))
    refused(image.digest, Evidence(bundles=(changed,)))


def test_formatting_the_statement_again_is_a_change(image: SignedImage, evidence: Evidence) -> None:
    spaced = parse_bundle(tamper(evidence.bundles[0].raw, lambda _: None, at="payload"))
    assert json.loads(spaced.envelope.payload) == json.loads(evidence.bundles[0].envelope.payload)
    refused(image.digest, Evidence(bundles=(spaced,)))


def test_no_evidence(image: SignedImage) -> None:
    with pytest.raises(NotVerified) as raised:
        verify_signature(digest=image.digest, evidence=Evidence(), authority=authority())
    assert raised.value.reasons == ("nothing is attached to it",)
    assert "modelcar copy" in str(raised.value.hint)


def test_what_is_unreadable_is_a_reason(image: SignedImage) -> None:
    assert refused(image.digest, Evidence(unreadable=("referrer abc: it is not JSON",))) == (
        "referrer abc: it is not JSON",
    )


def test_the_reasons_are_not_endless(image: SignedImage, evidence: Evidence) -> None:
    reasons = refused(image.digest, Evidence(bundles=evidence.bundles * 50), authority=authority(OTHER_KEY))
    assert len(reasons) == 21
    assert reasons[-1] == "and 30 more"


def test_what_is_forged_does_not_hide_what_is_sound(image: SignedImage, evidence: Evidence) -> None:
    good = evidence.bundles[0]
    forged = replace(good, envelope=replace(good.envelope, payload=b"not even JSON"))
    both = Evidence(bundles=(forged, *[forged] * 30, good), unreadable=("referrer abc: damaged",))
    assert verify_signature(digest=image.digest, evidence=both, authority=authority()).format == "bundle"


# Attacks


def test_a_signature_of_another_image(image: SignedImage, tmp_path: Path) -> None:
    other = signed_image(tmp_path / "other", seed=2)
    assert other.digest != image.digest
    assert refused(image.digest, other.evidence) == (
        f"bundle 1 (says it is by key {KEY.public.fingerprint}): it is about {other.digest}",
        f"legacy signature 1: it is about {other.digest}",
    )


def test_a_manifest_of_the_same_image(image: SignedImage, evidence: Evidence) -> None:
    """Signed as well, but by its own signature: the index's says nothing about its parts."""
    part = image.place.document(image.root).manifests[0].digest  # type: ignore[union-attr]  # an index
    refused(part, evidence)


def test_the_repository_does_not_matter_and_the_digest_does(image: SignedImage) -> None:
    """A signature replayed beside the same content elsewhere is true there; beside other content it is not."""
    payload = simple_payload(image.digest, "evil.example/somewhere/else")
    replayed = SimpleSignature.signed(payload, KEY.sign(payload))
    found = verify_signature(digest=image.digest, evidence=Evidence(simple=(replayed,)), authority=authority())
    assert found.digest == image.digest
    refused(ELSEWHERE, Evidence(simple=(replayed,)))


def test_an_attestation_is_no_signature(image: SignedImage) -> None:
    """Not even one by the right key about the right digest: "scan failed" must not pass for approval."""
    failed = attested(image.digest, SCAN, {"verdict": "malicious"})
    assert refused(image.digest, Evidence(bundles=(failed,))) == (
        f"bundle 1 (says it is by key {KEY.public.fingerprint}): it is a statement of type {SCAN}",
    )


def test_a_bare_envelope_is_no_signature(image: SignedImage, evidence: Evidence) -> None:
    refused(image.digest, Evidence(envelopes=(evidence.bundles[0].envelope,)))


def test_an_attestations_payload_under_the_signature_tag(image: SignedImage, evidence: Evidence) -> None:
    payload = evidence.bundles[0].envelope.payload
    moved = SimpleSignature.signed(payload, KEY.sign(payload))
    assert "critical" in refused(image.digest, Evidence(simple=(moved,)))[0]


def test_the_signature_over_the_bare_payload_is_not_one_over_the_envelope(image: SignedImage) -> None:
    payload = Statement.about(image.digest, COSIGN_SIGN).to_bytes()
    confused = Envelope(payload=payload, payload_type=IN_TOTO, signatures=(KEY.sign(payload),))
    refused(image.digest, Evidence(bundles=(Bundle(raw=b"", envelope=confused),)))


def test_another_payload_type_signed_by_the_right_key(image: SignedImage) -> None:
    payload = Statement.about(image.digest, COSIGN_SIGN).to_bytes()
    other = Bundle(raw=b"", envelope=envelope(payload, payload_type="application/json"))
    assert "its payload is a application/json" in refused(image.digest, Evidence(bundles=(other,)))[0]


def test_a_certificate_does_not_satisfy_a_key(image: SignedImage, evidence: Evidence) -> None:
    keyless = replace(evidence.bundles[0], certificate=b"der")
    assert "with a certificate, not with a key" in refused(image.digest, Evidence(bundles=(keyless,)))[0]


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        (b'{"_type":"https://in-toto.io/Statement/v1","_type":"x"}', "twice"),
        (b"[]", "not a JSON object"),
        (b'{"_type":"https://example.com/v1","subject":[]}', "not an in-toto statement"),
        (b"\xff", "UTF-8"),
        (b"{" + b'"a":{' * 5000 + b"}" * 5001, "nested too deeply"),
    ],
)
def test_malformed_statements_signed_by_the_right_key(image: SignedImage, statement: bytes, says: str) -> None:
    assert says in refused(image.digest, Evidence(bundles=(Bundle(raw=b"", envelope=envelope(statement)),)))[0]


def test_names_that_other_readers_take_for_known_ones(image: SignedImage) -> None:
    statement = json.loads(Statement.about(image.digest, COSIGN_SIGN).to_bytes())
    twins: list[dict[str, Any]] = [
        {**statement, "PredicateType": SCAN},
        {**statement, "subject": [{**statement["subject"][0], "Digest": {}}]},
    ]
    for twin in twins:
        bundle = Bundle(raw=b"", envelope=envelope(json.dumps(twin).encode()))
        assert "only in case" in refused(image.digest, Evidence(bundles=(bundle,)))[0]


def test_too_many_signatures_in_one_envelope(image: SignedImage, evidence: Evidence) -> None:
    signed = evidence.bundles[0].envelope
    many = replace(evidence.bundles[0], envelope=replace(signed, signatures=(b"x",) * 17))
    assert "too many to try" in refused(image.digest, Evidence(bundles=(many,)))[0]


# Attestations


def test_an_attestation_of_the_right_type(image: SignedImage) -> None:
    clean = attested(image.digest, SCAN, {"verdict": "clean"})
    found = verify_attestation(
        digest=image.digest, predicate_type=SCAN, evidence=Evidence(bundles=(clean,)), authority=authority()
    )
    assert (found.predicate_type, found.predicate, found.format) == (SCAN, {"verdict": "clean"}, "bundle")


@pytest.mark.parametrize("predicate_type", ["https://modelcar.dev/scan/v2", f"{SCAN}/", SCAN.upper(), COSIGN_SIGN, ""])
def test_an_attestation_of_another_type(image: SignedImage, predicate_type: str) -> None:
    clean = Evidence(bundles=(attested(image.digest, SCAN, {}),))
    with pytest.raises(NotVerified, match="has no attestation of type"):
        verify_attestation(digest=image.digest, predicate_type=predicate_type, evidence=clean, authority=authority())


def test_a_signature_is_no_attestation(image: SignedImage, evidence: Evidence) -> None:
    with pytest.raises(NotVerified) as raised:
        verify_attestation(digest=image.digest, predicate_type=SCAN, evidence=evidence, authority=authority())
    assert f"it is a statement of type {COSIGN_SIGN}" in raised.value.reasons[0]


def test_all_that_are_sound_and_no_other(image: SignedImage) -> None:
    first, second = (attested(image.digest, SCAN, {"n": n}) for n in (1, 2))
    foreign = attested(image.digest, SCAN, {"n": 3}, OTHER_KEY)
    elsewhere = attested(ELSEWHERE, SCAN, {"n": 4})
    legacy = envelope(Statement.about(image.digest, SCAN, {"n": 5}).to_bytes())
    evidence = Evidence(bundles=(foreign, first, elsewhere, second), envelopes=(legacy,))
    found = verify_attestations(digest=image.digest, predicate_type=SCAN, evidence=evidence, authority=authority())
    assert [(v.predicate["n"], v.format) for v in found] == [(1, "bundle"), (2, "bundle"), (5, "legacy")]
    with pytest.raises(NotVerified):
        verify_attestations(
            digest=image.digest,
            predicate_type=SCAN,
            evidence=Evidence(bundles=(foreign, elsewhere)),
            authority=authority(),
        )


@pytest.mark.parametrize("bit", range(0, 900, 61))
def test_one_bit_of_a_legacy_attestation(image: SignedImage, bit: int) -> None:
    sound = envelope(Statement.about(image.digest, SCAN, {"verdict": "clean"}).to_bytes())
    for changed in (
        replace(sound, payload=flip(sound.payload, bit)),
        replace(sound, signatures=(flip(sound.signatures[0], bit),)),
    ):
        with pytest.raises(NotVerified):
            verify_attestation(
                digest=image.digest, predicate_type=SCAN, evidence=Evidence(envelopes=(changed,)), authority=authority()
            )


def test_one_of_several_signatures_and_subjects_suffices(image: SignedImage) -> None:
    statement = Statement(subjects=(Subject.of(ELSEWHERE), Subject.of(image.digest)), predicate_type=SCAN)
    sound = envelope(statement.to_bytes())
    several = replace(sound, signatures=(b"someone else's", *sound.signatures))
    found = verify_attestation(
        digest=image.digest, predicate_type=SCAN, evidence=Evidence(envelopes=(several,)), authority=authority()
    )
    assert found.signer.fingerprint == KEY.public.fingerprint


def test_digest_and_type_cannot_be_left_out() -> None:
    for function, names in ((verify_signature, {"digest", "evidence", "authority"}),
                            (verify_attestation, {"digest", "predicate_type", "evidence", "authority"}),
                            (verify_attestations, {"digest", "predicate_type", "evidence", "authority"})):  # fmt: skip
        parameters = inspect.signature(function).parameters
        assert set(parameters) == names
        assert all(p.kind is p.KEYWORD_ONLY and p.default is p.empty for p in parameters.values())


def test_nothing_here_answers_with_a_boolean() -> None:
    """A caller that forgets to look at a boolean has verified nothing."""
    for name, function in inspect.getmembers(verify, inspect.isfunction):
        assert function.__annotations__.get("return") != "bool", name


def test_legacy_payloads_are_read_strictly(image: SignedImage) -> None:
    payload = simple_payload(image.digest, REPOSITORY).replace(b'"optional":null', b'"optional":null,"optional":{}')
    twice = SimpleSignature.signed(payload, KEY.sign(payload))
    assert "twice" in refused(image.digest, Evidence(simple=(twice,)))[0]


def test_large_statements_are_read_only_if_they_are_signed(
    image: SignedImage, evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading 16 MiB of JSON takes a second, for each of many policies, and anybody can attach some."""
    padding = {"padding": "x" * 5000}
    junk = attested(image.digest, COSIGN_SIGN, padding, OTHER_KEY)
    ours = attested(image.digest, COSIGN_SIGN, padding)
    read: list[bytes] = []
    parse = Statement.parse

    def recorded(raw: bytes) -> Statement:
        read.append(raw)
        return parse(raw)

    monkeypatch.setattr(Statement, "parse", recorded)
    assert refused(image.digest, Evidence(bundles=(junk,), envelopes=(junk.envelope,)))
    assert read == []
    verified = verify_signature(digest=image.digest, evidence=Evidence(bundles=(junk, ours)), authority=authority())
    assert verified.predicate == padding
    assert read == [ours.envelope.payload]
    assert (
        "it is a statement of type"
        in refused(image.digest, Evidence(bundles=(attested(image.digest, SCAN, padding),)))[0]
    )
    assert "it is about" in refused(image.digest, Evidence(bundles=(attested(ELSEWHERE, COSIGN_SIGN, padding),)))[0]
    for bit in range(0, 8 * len(ours.envelope.payload), 997):
        changed = replace(ours.envelope, payload=flip(ours.envelope.payload, bit))
        refused(image.digest, Evidence(bundles=(replace(ours, envelope=changed),)))
