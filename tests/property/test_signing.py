"""Signing with whatever comes: what is written reads back, and nothing but the real thing verifies."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from modelcar.errors import InvalidDocument, NotVerified
from modelcar.oci import Digest
from modelcar.signing.bundle import key_bundle, parse_bundle
from modelcar.signing.dsse import IN_TOTO, Envelope, pre_authentication_encoding
from modelcar.signing.encoding import decode_base64, encode_base64
from modelcar.signing.signatory import KeySignatory
from modelcar.signing.simplesigning import signed_digest, simple_payload
from modelcar.signing.statement import COSIGN_SIGN, Statement, Subject
from modelcar.signing.verified import Bundle, Evidence, SimpleSignature
from modelcar.signing.verify import verify_attestation, verify_signature
from tests.support.signing import KEY, authority
from tests.support.values import digests, json_values, references

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
predicates = st.dictionaries(_TEXT, json_values, max_size=4)
subjects = st.builds(
    Subject,
    digests=st.dictionaries(st.sampled_from(["sha256", "sha512", "gitCommit"]), st.just("ab" * 32), min_size=1),
    name=st.none() | _TEXT.filter(bool),
)
statements = st.builds(
    Statement,
    subjects=st.lists(subjects, min_size=1, max_size=3).map(tuple),
    predicate_type=_TEXT.filter(bool),
    predicate=predicates,
)
DIGEST = Digest.of(b"an image")
BUNDLE = KeySignatory(KEY).sign_statement(Statement.about(DIGEST, COSIGN_SIGN))


@given(statements)
def test_statements_survive_a_round_trip(statement: Statement) -> None:
    raw = statement.to_bytes()
    assert Statement.parse(raw) == statement
    assert Statement.parse(raw).to_bytes() == raw


@given(st.binary(max_size=200), st.binary(min_size=1, max_size=80), _TEXT)
def test_bundles_survive_a_round_trip(payload: bytes, signature: bytes, hint: str) -> None:
    assume(payload)
    made = key_bundle(payload, signature, hint)
    assert parse_bundle(made.raw) == made


@given(digests(), references())
def test_simple_payloads_name_their_digest(digest: Digest, reference: Any) -> None:
    assert signed_digest(simple_payload(digest, reference.name)) == digest


@given(st.binary(max_size=100))
def test_base64_in_all_its_forms(data: bytes) -> None:
    text = encode_base64(data)
    for form in (text, text.rstrip("="), text.replace("+", "-").replace("/", "_")):
        assert decode_base64(form, "x") == data


@given(st.text(max_size=40), st.text(max_size=40), st.binary(max_size=40), st.binary(max_size=40))
def test_no_two_messages_are_encoded_alike(type1: str, type2: str, payload1: bytes, payload2: bytes) -> None:
    """Or a signature over one would be one over the other."""
    assume((type1, payload1) != (type2, payload2))
    assume(not any("\ud800" <= c <= "\udfff" for c in type1 + type2))
    assert pre_authentication_encoding(type1, payload1) != pre_authentication_encoding(type2, payload2)


@given(digests(), predicates)
def test_what_is_signed_verifies_for_its_digest_and_type_only(digest: Digest, predicate: dict[str, Any]) -> None:
    bundle = KeySignatory(KEY).sign_statement(Statement.about(digest, "https://example.com/a", predicate))
    evidence = Evidence(bundles=(parse_bundle(bundle.raw),))
    found = verify_attestation(
        digest=digest, predicate_type="https://example.com/a", evidence=evidence, authority=authority()
    )
    assert found.predicate == predicate
    with pytest.raises(NotVerified):
        verify_attestation(
            digest=Digest.of(b"other"), predicate_type="https://example.com/a", evidence=evidence, authority=authority()
        )
    with pytest.raises(NotVerified):
        verify_attestation(
            digest=digest, predicate_type="https://example.com/b", evidence=evidence, authority=authority()
        )


@given(st.binary(max_size=300) | st.sampled_from([BUNDLE.raw, BUNDLE.raw[:-1], b"{}"]))
@example(b'{"mediaType":[]}')
def test_any_bytes_are_a_bundle_or_an_invalid_document(raw: bytes) -> None:
    try:
        parse_bundle(raw)
    except InvalidDocument:
        return
    assert raw == BUNDLE.raw


@given(st.data())
def test_one_byte_of_a_bundle_changed(data: st.DataObject) -> None:
    """It does not parse, does not verify, or the change was to what nobody signs: the hint, the form of base64."""
    at = data.draw(st.integers(0, len(BUNDLE.raw) - 1))
    raw = bytearray(BUNDLE.raw)
    raw[at] = data.draw(st.integers(32, 126).filter(lambda b: b != BUNDLE.raw[at]))
    try:
        changed = parse_bundle(bytes(raw))
        verify_signature(digest=DIGEST, evidence=Evidence(bundles=(changed,)), authority=authority())
    except (InvalidDocument, NotVerified):
        return
    assert changed.envelope == BUNDLE.envelope


@given(json_values)
def test_any_json_under_any_tag_is_refused_in_words(value: Any) -> None:
    raw = json.dumps(value).encode()
    signed = SimpleSignature.signed(raw, KEY.sign(raw))
    signature = KEY.sign(pre_authentication_encoding(IN_TOTO, raw))
    envelope = Envelope(payload=raw, payload_type=IN_TOTO, signatures=(signature,))
    evidence = Evidence(bundles=(Bundle(raw=b"", envelope=envelope),), simple=(signed,), envelopes=(envelope,))
    with pytest.raises(NotVerified) as raised:
        verify_signature(digest=DIGEST, evidence=evidence, authority=authority())
    assert len(raised.value.reasons) == 2
