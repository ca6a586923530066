from __future__ import annotations

from datetime import UTC, datetime

import pytest

from modelcar.errors import UsageError
from modelcar.signing.attestations.custom import MAX_PREDICATE, custom_predicate
from modelcar.signing.attestations.predicate_types import COSIGN_CUSTOM, predicate_type_of

URI = "https://acme.example/review/v1"


@pytest.mark.parametrize(
    ("name", "uri"),
    [
        ("provenance", "https://slsa.dev/provenance/v1"),
        ("slsaprovenance1", "https://slsa.dev/provenance/v1"),
        ("slsaprovenance", "https://slsa.dev/provenance/v0.2"),
        ("mlbom", "https://cyclonedx.org/bom"),
        ("cyclonedx", "https://cyclonedx.org/bom"),
        ("spdxjson", "https://spdx.dev/Document"),
        ("vuln", "https://cosign.sigstore.dev/attestation/vuln/v1"),
        ("custom", "https://cosign.sigstore.dev/attestation/v1"),
        ("oms", "https://model_signing/signature/v1.0"),
        (URI, URI),
        ("urn:acme:review", "urn:acme:review"),
    ],
)
def test_types(name: str, uri: str) -> None:
    assert predicate_type_of(name) == uri


@pytest.mark.parametrize("name", ["", "provenence", "https://", "https://acme example/", "acme.example/x", "a:\n"])
def test_what_is_no_type(name: str) -> None:
    with pytest.raises(UsageError, match="not a predicate type"):
        predicate_type_of(name)


def test_an_object_is_taken_as_it_is() -> None:
    assert custom_predicate(b'{"b": [1, 2.5, null], "a": {"x": "\xc3\xa9"}}', URI) == {
        "b": [1, 2.5, None],
        "a": {"x": "\u00e9"},
    }


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        (b"[]", "not a JSON object"),
        (b"", "not JSON"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b'{"a": NaN}', "NaN"),
        (b"\xff", "UTF-8"),
        (b'{"a": "' + b"x" * MAX_PREDICATE + b'"}', "bytes"),
        (b'{"_type": "x", "subject": [], "predicateType": "y", "predicate": {}}', "whole in-toto statement"),
    ],
    ids=["array", "empty", "twice", "nan", "binary", "huge", "statement"],
)
def test_what_is_no_predicate(raw: bytes, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        custom_predicate(raw, URI)


def test_custom_holds_any_text_as_cosign_makes_it() -> None:
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    assert custom_predicate(b"looks good", COSIGN_CUSTOM, timestamp=moment) == {
        "Data": "looks good",
        "Timestamp": "2026-01-02T00:00:00Z",
    }
    with pytest.raises(UsageError, match="UTF-8"):
        custom_predicate(b"\xff", COSIGN_CUSTOM)
