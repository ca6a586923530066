"""Other scanners, asked for a second opinion: what they say can make a verdict worse and never better.

A package offers one by an entry point in the group `modelcar.scanners` that leads to a callable without arguments
which returns a `ScannerPlugin`. `docs/how-to/scanner-plugins.md` has an example.
"""

from __future__ import annotations

from modelcar.scanning.findings import Severity
from modelcar.scanning.plugins.interface import FileUnderScan, Isolation, PluginFinding, ScannerFailed, ScannerPlugin

__all__ = ["FileUnderScan", "Isolation", "PluginFinding", "ScannerFailed", "ScannerPlugin", "Severity"]
