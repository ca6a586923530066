"""Verdicts as they present themselves: read where they can be, passed over where they cannot."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelcar.cli.pages.claimed import ClaimedVerdict, claimed_verdicts, spoken
from modelcar.signing.dsse import Envelope
from modelcar.signing.ruleset import SCAN_VERDICT
from modelcar.signing.statement import STATEMENT_V1
from modelcar.signing.verified import Evidence
from tests.unit.cli.pages.images import digest_of

IMAGE = digest_of("image")


def evidence(predicate: Any, *, kind: str = SCAN_VERDICT, about: str = IMAGE.hex) -> Evidence:
    statement = {
        "_type": STATEMENT_V1,
        "subject": [{"digest": {"sha256": about}}],
        "predicateType": kind,
        "predicate": predicate,
    }
    payload = json.dumps(statement).encode()
    return Evidence(envelopes=(Envelope(payload_type="application/vnd.in-toto+json", payload=payload, signatures=()),))


def test_what_a_verdict_says() -> None:
    predicate = {
        "verdict": "unverified",
        "ruleSet": {"name": "modelcar", "version": "2026.11"},
        "scannedAt": "2026-11-20T12:00:00Z",
        "findings": [{}, {}],
        "findingsLeftOut": 3,
    }
    assert claimed_verdicts(IMAGE, evidence(predicate)) == (
        ClaimedVerdict(verdict="unverified", rules="modelcar 2026.11", scanned_at="2026-11-20T12:00:00Z", findings=5),
    )


@pytest.mark.parametrize(
    "predicate",
    [
        {"verdict": "malicious"},
        {"verdict": "malicious", "ruleSet": 1, "scannedAt": None, "findings": "many", "findingsLeftOut": "more"},
    ],
)
def test_what_is_malformed_is_no_reason_to_hide_a_verdict(predicate: dict[str, Any]) -> None:
    (found,) = claimed_verdicts(IMAGE, evidence(predicate))
    assert (found.verdict, found.rules, found.findings) == ("malicious", "", 0)


def test_what_is_no_verdict_about_this_image() -> None:
    clean = {"verdict": "clean"}
    assert claimed_verdicts(IMAGE, evidence({"verdict": "splendid"})) == ()
    assert claimed_verdicts(IMAGE, evidence({"verdict": ["clean"]})) == ()
    assert claimed_verdicts(IMAGE, evidence(clean, kind="https://example.com/other")) == ()
    assert claimed_verdicts(IMAGE, evidence(clean, about="0" * 64)) == ()
    junk = Envelope(payload_type="x", payload=b"no statement", signatures=())
    assert claimed_verdicts(IMAGE, Evidence(envelopes=(junk,))) == ()


def test_types_have_names() -> None:
    assert spoken(SCAN_VERDICT) == "scan verdict"
    assert spoken("https://example.com/other") == "https://example.com/other"
