"""Asking other scanners about one file, and taking nothing from them but what makes the verdict worse."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace

from modelcar.scanning.filescan import MORE, Findings
from modelcar.scanning.findings import Finding, Severity, shown
from modelcar.scanning.limits import LimitExceeded, Limits
from modelcar.scanning.plugins.interface import FileUnderScan, Isolation, PluginFinding, ScannerFailed
from modelcar.scanning.plugins.loading import LoadedPlugin
from modelcar.scanning.plugins.rules import BY_SEVERITY, FAILED

__all__ = ["run_plugins"]


def run_plugins(plugins: Sequence[LoadedPlugin], file: FileUnderScan, limits: Limits) -> list[Finding]:
    """What each of `plugins` has to say about `file`. Failures are findings; nothing is raised."""
    return [finding for plugin in plugins for finding in _ask(plugin, file, limits)]


def _ask(plugin: LoadedPlugin, file: FileUnderScan, limits: Limits) -> list[Finding]:
    file = replace(file, deadline=time.monotonic() + limits.seconds)
    findings = Findings(limits.findings)
    try:
        if plugin.scanner.wants(file):
            with closing(_answers(plugin, file, limits)) as answers:
                for said in answers:
                    findings.add(_finding(plugin, file, said))
    except (ScannerFailed, LimitExceeded) as e:
        findings.add(_failure(plugin, file, str(e)))
    except (MemoryError, RecursionError):
        findings.add(_failure(plugin, file, "it takes more memory than there is"))
    except Exception as e:
        findings.add(_failure(plugin, file, f"{type(e).__name__}: {e}" if str(e) else type(e).__name__))
    if findings.dropped:
        detail = f"{plugin.name}: {findings.dropped} further findings are not listed"
        findings.kept.append(Finding(rule=MORE, path=file.path, detail=detail, scanner=plugin.name))
    return findings.kept


def _answers(plugin: LoadedPlugin, file: FileUnderScan, limits: Limits) -> Generator[PluginFinding, None, None]:
    if plugin.scanner.isolation is not Isolation.NONE:
        from modelcar.scanning.plugins.contained import contained_scan  # most scans start no process

        yield from contained_scan(plugin, file, limits)
        return
    for said in plugin.scanner.scan(file):
        yield said
        file.seconds_left()


def _finding(plugin: LoadedPlugin, file: FileUnderScan, said: object) -> Finding:
    """What was said as a finding of ours: printable, bounded, inside the file. It is a stranger's, and may be anything.

    Raises:
        ScannerFailed: it makes no sense.
    """
    if not isinstance(said, PluginFinding) or not isinstance(said.severity, Severity):
        raise ScannerFailed("it gave an answer that is no finding")
    member = f"!{_plain(said.member)}" if said.member else ""
    offset = said.offset
    if type(offset) is not int or offset < 0 or (not member and offset > file.size):
        offset = None
    parts = [plugin.name, *(_plain(part) for part in (said.title, said.detail) if part)]
    return Finding(
        rule=BY_SEVERITY[said.severity],
        path=f"{file.path}{member}",
        offset=offset,
        detail=": ".join(parts),
        scanner=plugin.name,
    )


def _failure(plugin: LoadedPlugin, file: FileUnderScan, why: str) -> Finding:
    return Finding(rule=FAILED, path=file.path, detail=f"{plugin.name}: {_plain(why)}", scanner=plugin.name)


def _plain(text: object) -> str:
    return shown(str(text))[1:-1]
