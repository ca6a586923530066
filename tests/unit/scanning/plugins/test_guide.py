"""The scanner in docs/how-to/scanner-plugins.md: packaged as the page says, found, and asked."""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path

import pytest

from modelcar.checkpoint import open_checkpoint
from modelcar.scanning.checkpoint import scan_checkpoint
from modelcar.scanning.plugins.loading import load_plugins
from modelcar.scanning.settings import ScanSettings

PAGE = Path(__file__).parents[4] / "docs" / "how-to" / "scanner-plugins.md"


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tomllib.loads(block("toml"))["project"]
    (entry,) = project["entry-points"]["modelcar.scanners"].items()
    (tmp_path / f"{entry[1].partition(':')[0]}.py").write_text(block("python"))
    info = tmp_path / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    (info / "entry_points.txt").write_text(f"[modelcar.scanners]\n{entry[0]} = {entry[1]}\n")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("installed")
def test_the_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    settings = ScanSettings(plugins=load_plugins(["denied-files"]))

    def scan() -> dict[str, str]:
        report = scan_checkpoint(open_checkpoint(folder), settings)
        return {finding.path: finding.rule.id for finding in report.all_findings if finding.scanner != "modelcar"}

    assert scan() == {"config.json": "scanner.failed"}
    denied = tmp_path / "denied.txt"
    monkeypatch.setenv("MODELCAR_SCANNER_DENIED_FILES", str(denied))
    denied.write_text("0" * 64)
    assert scan() == {}
    denied.write_text(hashlib.sha256((folder / "config.json").read_bytes()).hexdigest())
    assert scan() == {"config.json": "scanner.malicious"}
