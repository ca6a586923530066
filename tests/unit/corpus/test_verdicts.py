"""`modelcar scan` on the whole corpus: nothing malicious is ever clean, and nothing benign is ever malicious."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelcar.cli import main
from tests.corpus import Specimen, benign, malicious
from tests.corpus.policy import licence_policy

SPECIMENS = [*malicious(), *benign()]
FIRST = {(specimen.category, specimen.expected): specimen.name for specimen in reversed(SPECIMENS)}
"""One of each category and kind, for the tier that takes seconds."""

CASES = [
    pytest.param(specimen, id=specimen.name, marks=() if specimen.name in FIRST.values() else pytest.mark.slow)
    for specimen in SPECIMENS
]


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MODELCAR_HOME", str(tmp_path / "home"))


@pytest.mark.parametrize("specimen", CASES)
def test_the_verdict_is_right(specimen: Specimen, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = specimen.write(tmp_path)
    policy: list[str] = []
    if specimen.denied_licences:
        (tmp_path / "policy.yaml").write_text(licence_policy(specimen.denied_licences))
        policy = ["--policy", str(tmp_path / "policy.yaml")]
    status = main(["scan", "--json", str(folder), *policy])
    out, err = capsys.readouterr()
    assert out, err
    report = json.loads(out)
    assert report["verdict"] in specimen.expected
    assert status == (0 if report["verdict"] == "clean" else 1)
    assert "Traceback" not in err
    if report["verdict"] != "clean":
        findings = [*report["findings"], *(finding for file in report["files"] for finding in file["findings"])]
        assert findings
        assert all(finding["rule"] and finding["why"] and finding["fix"] for finding in findings)
