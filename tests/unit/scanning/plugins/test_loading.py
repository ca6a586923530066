"""Entry points: who offers a scanner, and what is said if nobody does."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelcar.errors import UsageError
from modelcar.scanning.plugins.loading import installed_plugins, load_plugins

SCANNER = """
from modelcar.scanning.plugins import ScannerPlugin

class Good(ScannerPlugin):
    name = "good"

    def version(self):
        return "7\\n"

    def scan(self, file):
        return []

class Shy(Good):
    name = "shy"

    def version(self):
        raise OSError("no")

def broken():
    raise ImportError("libfoo.so is missing")
"""


class Packages:
    """A folder with packages that offer scanners."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, package: str, **scanners: str) -> None:
        info = self.folder / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = "".join(f"{name} = {value}\n" for name, value in scanners.items())
        (info / "entry_points.txt").write_text(f"[modelcar.scanners]\n{lines}")


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Packages:
    (tmp_path / "loading_fakes.py").write_text(SCANNER)
    monkeypatch.syspath_prepend(tmp_path)
    return Packages(tmp_path)


def test_a_scanner_by_its_name(packages: Packages) -> None:
    packages.install("acme-scan", good="loading_fakes:Good", shy="loading_fakes:Shy")
    good, shy = load_plugins(["good", "shy", "good"])
    assert (good.name, good.version, good.factory) == ("good", "7\N{REPLACEMENT CHARACTER}", "loading_fakes:Good")
    assert (shy.name, shy.version) == ("shy", "unknown")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing", "no scanner 'missing' is installed"),
        ("broken", "the scanner broken of acme-scan 1.0 cannot be loaded: ImportError: libfoo.so is missing"),
        ("absent", "the scanner absent of acme-scan 1.0 cannot be loaded: AttributeError: "),
        ("other", "what acme-scan 1.0 offers as other is no scanner of that name"),
        ("number", "what acme-scan 1.0 offers as number is no scanner of that name"),
    ],
)
def test_one_that_cannot_be_had(packages: Packages, name: str, says: str) -> None:
    packages.install(
        "acme-scan",
        broken="loading_fakes:broken",
        absent="loading_fakes:absent",
        other="loading_fakes:Good",
        number="builtins:int",
    )
    with pytest.raises(UsageError) as e:
        load_plugins([name])
    assert str(e.value).startswith(says)
    assert e.value.hint


def test_two_packages_cannot_have_one_name(packages: Packages) -> None:
    packages.install("acme-scan", good="loading_fakes:Good")
    packages.install("evil-scan", good="loading_fakes:Good")
    with pytest.raises(UsageError, match=r"acme-scan 1\.0 and evil-scan 1\.0 both offer a scanner 'good'"):
        load_plugins(["good"])


@pytest.mark.slow
def test_what_is_installed_is_listed_with_what_is_wrong_with_it(packages: Packages) -> None:
    packages.install("acme-scan", good="loading_fakes:Good", broken="loading_fakes:broken", shy="loading_fakes:Shy")
    found = {plugin.name: plugin for plugin in installed_plugins()}
    assert (found["good"].package, found["good"].problem) == ("acme-scan 1.0", None)
    assert "libfoo.so is missing" in str(found["broken"].problem)
    assert (found["shy"].version, found["shy"].problem) == ("unknown", "OSError: no")
