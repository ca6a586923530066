"""Scanners made of a few lines, in a package that other processes can import, too."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from modelcar.scanning.content import literal
from modelcar.scanning.findings import Finding
from modelcar.scanning.limits import Limits
from modelcar.scanning.plugins import FileUnderScan, Isolation, PluginFinding, ScannerPlugin
from modelcar.scanning.plugins.loading import LoadedPlugin
from modelcar.scanning.plugins.run import run_plugins

Scan = Callable[[FileUnderScan], Iterable[PluginFinding]]
AskContained = Callable[..., list[Finding]]

_MODULE = """
import os, resource, signal, socket, subprocess, sys, time
from modelcar.scanning.plugins import *

class Fake(ScannerPlugin):
    name = "fake"

    def version(self):
        return "1"

    def scan(self, file):
        note = lambda title: PluginFinding(severity=Severity.NOTE, title=str(title))
{body}
"""


class Fake(ScannerPlugin):
    """Runs in this process and does what it is given."""

    name = "fake"

    def __init__(self, scan: Scan = lambda _: (), isolation: Isolation = Isolation.NONE) -> None:
        self._scan = scan
        self.isolation = isolation

    def version(self) -> str:
        return "1"

    def scan(self, file: FileUnderScan) -> Iterable[PluginFinding]:
        return self._scan(file)


def loaded(scanner: ScannerPlugin, factory: str = "") -> LoadedPlugin:
    return LoadedPlugin(name=scanner.name, version="1", factory=factory, scanner=scanner)


def ask(scan: Scan, data: bytes = b"0123456789", limits: Limits | None = None) -> list[Finding]:
    """What comes of a scanner that does `scan`."""
    file = FileUnderScan(path="sub/model.bin", content=literal(data))
    return run_plugins([loaded(Fake(scan))], file, limits or Limits())


@pytest.fixture
def ask_contained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AskContained:
    """What comes of a scanner in a process of its own whose `scan` has these lines."""
    monkeypatch.syspath_prepend(tmp_path)

    def ask(
        body: str,
        file: FileUnderScan | None = None,
        limits: Limits | None = None,
        isolation: Isolation = Isolation.SEALED,
    ) -> list[Finding]:
        lines = "\n".join(f"        {line}" for line in body.splitlines())
        (tmp_path / "fake_scanner.py").write_text(_MODULE.format(body=lines))
        plugin = loaded(Fake(isolation=isolation), "fake_scanner:Fake")
        file = file or FileUnderScan(path="sub/model.bin", content=literal(b"0123456789"))
        return run_plugins([plugin], file, limits or Limits())

    return ask
