"""What a scanner signs: as the schema has it, small enough to be read, and about nothing but what was scanned."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from modelcar.images.scans import predicates
from modelcar.oci import Digest
from modelcar.scanning.findings import Finding, Outcome, Rule, Severity
from modelcar.scanning.report import FileReport, Report, Scanner
from modelcar.scanning.verdict import scan_predicate
from modelcar.scanning.version import RULE_SET
from modelcar.signing.places import LayoutPlace
from modelcar.signing.ruleset import SCAN_VERDICT
from modelcar.signing.statement import Statement
from modelcar.store import LocalStore
from tests.corpus import malicious
from tests.support.scanned_images import image_of, index_of, layer_of, scan
from tests.support.scanning import findings_in
from tests.support.weights import safetensors_bytes

SCHEMA = json.loads((Path(__file__).parents[3] / "docs/formats/scan-verdict.schema.json").read_text())
SUBJECT = Digest.of(b"x")
WEIGHTS = safetensors_bytes({"a": ("F32", (4,), bytes(16))}, align=8)
EVIL = b"\x80\x02cposix\nsystem\nU\x02idR."


def rule(severity: Severity) -> Rule:
    return Rule(id=f"test.{severity}", severity=severity, title="x", why="y", fix="z")


def report_with(*findings: Finding, **facts: str) -> Report:
    file = FileReport(path="a", size=1, formats=("text",), findings=findings)
    return Report(
        subject="x",
        files=(file,),
        rule_set=RULE_SET,
        scanners=(Scanner(name="modelcar", version="1"),),
        scanned_at=datetime(2026, 11, 20, tzinfo=UTC),
        facts=facts,
    )


def reports() -> Iterator[Report]:
    """Of one malicious file of each kind in the corpus."""
    for specimen in {specimen.category: specimen for specimen in malicious()}.values():
        for path, content in specimen.files.items():
            if isinstance(content, bytes) and len(content) < 50_000:
                yield report_with(*findings_in(path, content))


def check(report: Report) -> dict[str, object]:
    """The predicate, after a way through a statement."""
    Draft202012Validator.check_schema(SCHEMA)
    predicate = scan_predicate(report)
    Draft202012Validator(SCHEMA).validate(predicate)
    parsed = Statement.parse(Statement.about(SUBJECT, SCAN_VERDICT, predicate).to_bytes())
    assert parsed.predicate == predicate
    return predicate


def test_reports_of_every_kind_are_as_the_schema_has_it() -> None:
    severities = set()
    for report in reports():
        predicate = check(report)
        found = {finding.severity for finding in report.all_findings}
        assert (predicate["verdict"] == "malicious") is (Severity.MALICIOUS in found)
        assert (predicate["verdict"] == "clean") is (report.outcome is Outcome.CLEAN)
        severities |= found
    assert {Severity.MALICIOUS, Severity.UNVERIFIED} <= severities
    assert check(report_with())["verdict"] == "clean"
    other = Finding(rule=rule(Severity.NOTE), path="a", offset=0, scanner="other")
    assert check(report_with(other))["verdict"] == "clean"


def test_what_is_forbidden_is_not_called_malicious_for_ever() -> None:
    forbidden = report_with(Finding(rule=rule(Severity.FORBIDDEN), path="a"))
    assert forbidden.outcome is Outcome.MALICIOUS
    predicate = check(forbidden)
    assert predicate["verdict"] == "unverified"
    assert [f["severity"] for f in predicate["findings"]] == ["forbidden"]  # type: ignore[attr-defined]  # a list of mappings


def test_nor_is_what_nobody_has_checked_to_be_the_image() -> None:
    bad = Finding(rule=rule(Severity.MALICIOUS), path="a")
    assert check(report_with(bad))["verdict"] == "malicious"
    predicate = check(report_with(bad, scope="headers"))
    assert (predicate["verdict"], predicate["scope"]) == ("unverified", "headers")


@pytest.mark.parametrize("path", ["x", "é" * 4096])
def test_a_verdict_is_never_too_long_to_be_read(path: str) -> None:
    notes = [Finding(rule=rule(Severity.NOTE), path=path, offset=i, detail="d" * 500) for i in range(2000)]
    bad = Finding(rule=rule(Severity.MALICIOUS), path=path, offset=1)
    predicate = check(report_with(*notes, bad))
    assert predicate["verdict"] == "malicious"
    findings = predicate["findings"]
    assert isinstance(findings, list)
    assert findings[0]["severity"] == "malicious"
    assert len(findings) + int(str(predicate["findingsLeftOut"])) == 2001
    assert len(Statement.about(SUBJECT, SCAN_VERDICT, predicate).to_bytes()) < 300_000


def test_each_manifest_gets_the_verdict_on_its_own_files(tmp_path: Path) -> None:
    """Whoever lists somebody else's manifest beside an evil one does not make it malicious for ever."""
    store = LocalStore(tmp_path / "home")
    shared = layer_of(store, {"models/a.safetensors": WEIGHTS}, None)
    good = image_of(store, [shared])
    bad = image_of(store, [shared, layer_of(store, {"models/b.bin": EVIL}, None)])
    nested = index_of(store, bad)
    root = index_of(store, good, nested)
    report = scan(store, root)
    found = {subject.digest: p for subject, p in predicates(LayoutPlace(store.content), root, report)}
    verdicts = {digest: predicate["verdict"] for digest, predicate in found.items()}
    assert verdicts == {
        good.digest: "clean",
        bad.digest: "malicious",
        nested.digest: "malicious",
        root.digest: "malicious",
    }
    assert (found[good.digest]["files"], found[root.digest]["files"]) == (1, 2)


def test_what_is_said_of_the_whole_is_said_of_every_part(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "home")
    good = image_of(store, [layer_of(store, {"models/a.safetensors": WEIGHTS}, None)])
    root = index_of(store, good, replace(good, media_type="application/x", digest=Digest.of(b"other")))
    report = scan(store, root)
    verdicts = {p["verdict"] for _, p in predicates(LayoutPlace(store.content), root, report)}
    assert verdicts == {"unverified"}
