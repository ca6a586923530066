"""Licences under a policy, and names that two programs or two people take for different ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelcar.checkpoint import open_checkpoint
from modelcar.scanning.checkpoint import scan_checkpoint
from modelcar.scanning.findings import Outcome
from modelcar.scanning.licenses import license_findings, licenses_in_card
from modelcar.scanning.names import name_findings
from modelcar.scanning.settings import ScanSettings
from modelcar.signing.policy.licenses import LicenseRule
from tests.support.checkpoints import make_checkpoint

OPEN = LicenseRule(allowed=("Apache-2.0", "MIT"))
NO_GPL = LicenseRule(denied=("GPL-3.0-only",))


@pytest.mark.parametrize(
    ("licences", "found"),
    [
        (("Apache-2.0",), []),
        (("Apache-2.0", "MIT"), []),
        (("Apache-2.0 OR GPL-3.0-only",), []),
        (("CC-BY-NC-4.0",), ["licence.denied"]),
        (("MIT", "GPL-3.0-only"), ["licence.denied"]),
        ((), ["licence.unknown"]),
    ],
)
def test_every_rule_holds_for_every_licence(licences: tuple[str, ...], found: list[str]) -> None:
    assert [finding.rule.id for finding in license_findings(licences, (OPEN, NO_GPL))] == found


def test_without_a_rule_nothing_is_asked() -> None:
    assert license_findings((), ()) == []
    assert license_findings(("CC-BY-NC-4.0",), ()) == []


def test_licences_in_a_card() -> None:
    assert licenses_in_card(b"---\nlicense: apache-2.0\n---\n# x\n") == ("Apache-2.0",)
    assert licenses_in_card(b"\xff\x00") == ()


@pytest.mark.parametrize(
    ("rule", "outcome"), [(OPEN, Outcome.CLEAN), (LicenseRule(allowed=("MIT",)), Outcome.MALICIOUS)]
)
def test_a_checkpoint_is_held_to_its_card(tmp_path: Path, rule: LicenseRule, outcome: Outcome) -> None:
    checkpoint = open_checkpoint(str(make_checkpoint(tmp_path / "model")))
    assert scan_checkpoint(checkpoint, ScanSettings(licenses=(rule,))).outcome is outcome


@pytest.mark.parametrize(
    ("paths", "rule"),
    [
        (["Model.bin", "model.BIN"], "name.colliding"),
        (["caf\u00e9.txt", "cafe\u0301.txt"], "name.colliding"),
        (["a/\ufb01le", "a/file"], "name.colliding"),
        (["model\u202etxt.bin"], "name.deceptive"),
        (["mo\u200bdel.bin"], "name.deceptive"),
        (["a\nb"], "name.deceptive"),
        (["aux.json"], "name.not-portable"),
        (["a:b"], "name.not-portable"),
        (["folder./x"], "name.not-portable"),
    ],
)
def test_names(paths: list[str], rule: str) -> None:
    assert {finding.rule.id for finding in name_findings(paths)} == {rule}


def test_what_nobody_sees_is_spelled_out() -> None:
    assert [finding.detail for finding in name_findings(["mo\u200bdel.bin"])] == ["mo\\u200bdel.bin"]


def test_ordinary_names() -> None:
    names = ["config.json", "a/config.json", "tokenizer.model", "模型.safetensors", "model-00001-of-00002.bin"]
    assert name_findings(names) == []
