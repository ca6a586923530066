"""SARIF: what the standard asks for and JSON can say, for paths of every kind."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import pytest

from modelcar.scanning.findings import Finding, Rule, Severity
from modelcar.scanning.report import FileReport, Report, Scanner
from modelcar.scanning.sarif import to_sarif
from modelcar.scanning.version import RULE_SET
from tests.corpus import malicious
from tests.support.scanning import findings_in

RULE = Rule(id="test.rule", severity=Severity.MALICIOUS, title="a title", why="Why.", fix="Fix.")
# RFC 3986, 4.1 and 4.2: a relative reference of path segments, the first without a colon.
REFERENCE = re.compile(
    r"(?:[A-Za-z0-9._~!$&'()*+,;=@-]|%[0-9A-F]{2})+(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-F]{2})*)*"
)


def report_on(path: str, *findings: Finding, about_all: tuple[Finding, ...] = ()) -> Report:
    file = FileReport(path=path, size=1, formats=(), findings=findings)
    scanners = (Scanner(name="modelcar", version="0.1.0.dev3+g1"), Scanner(name="clamav", version="1.4"))
    at = datetime(2026, 11, 20, tzinfo=UTC)
    return Report(subject="x", files=(file,), rule_set=RULE_SET, scanners=scanners, scanned_at=at, findings=about_all)


def the_run(report: Report) -> dict[str, Any]:
    document = json.loads(json.dumps(to_sarif(report)))
    assert document["version"] == "2.1.0"
    (run,) = document["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules), "rules are unique (3.19.23)"
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["message"]["text"]
        assert result["level"] in ("error", "warning", "note")
        (location,) = result["locations"]
        assert REFERENCE.fullmatch(location["physicalLocation"]["artifactLocation"]["uri"])
        assert location["physicalLocation"].get("region", {"byteOffset": 0})["byteOffset"] >= 0
    return dict(run)


@pytest.mark.parametrize(
    "path", ["a.bin", "a folder/b c.bin", "what!ever.bin", "größe/模型.bin", "C:evil", "100%.bin", "a?b#c", "x" * 3000]
)
def test_paths_of_every_kind(path: str) -> None:
    own, inner = Finding(rule=RULE, path=path, offset=7), Finding(rule=RULE, path=f"{path}!in/side.pkl", offset=9)
    first, second = the_run(report_on(path, own, inner))["results"]
    for result in (first, second):
        uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        assert unquote(uri) == path
    assert first["locations"][0]["physicalLocation"]["region"] == {"byteOffset": 7}
    assert "logicalLocations" not in first["locations"][0]
    assert "region" not in second["locations"][0]["physicalLocation"], "byte 9 of the archive is another one"
    assert second["properties"] == {"offset": 9}
    assert second["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == f"{path}!in/side.pkl"


def test_what_is_about_the_whole() -> None:
    (result,) = the_run(report_on("a", about_all=(Finding(rule=RULE, path="wh!at", detail="é"),)))["results"]
    assert unquote(result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]) == "wh!at"
    assert result["message"]["text"] == "a title: é"


def test_names_that_are_no_text_at_all() -> None:
    assert the_run(report_on("a\udcff", Finding(rule=RULE, path="a\udcff")))


def test_the_whole_corpus() -> None:
    for specimen in {specimen.category: specimen for specimen in malicious()}.values():
        for path, content in specimen.files.items():
            if isinstance(content, bytes) and len(content) < 50_000:
                found = findings_in(path, content)
                assert len(the_run(report_on(path, *found))["results"]) == len(found)


def test_who_looked() -> None:
    tool = the_run(report_on("a"))["tool"]
    assert (tool["driver"]["name"], tool["driver"]["version"]) == ("modelcar", "0.1.0.dev3+g1")
    assert "semanticVersion" not in tool["driver"], "our versions are not always those of semver"
    assert tool["extensions"] == [{"name": "clamav", "version": "1.4"}]
