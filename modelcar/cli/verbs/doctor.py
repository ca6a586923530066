"""`modelcar doctor`."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator

import click

from modelcar.cli.configuration import configuration_files, in_force, read_files
from modelcar.cli.options import network_options, output_options
from modelcar.cli.output import Output, human_size
from modelcar.doctor.engines import look_at_engines
from modelcar.doctor.finding import Finding, Level, looked, note, ok
from modelcar.doctor.kernel import look_at_kernel
from modelcar.doctor.logins import look_at_logins
from modelcar.doctor.machine import look_at_folders, look_at_python
from modelcar.doctor.registries import look_at_registry
from modelcar.errors import Refused
from modelcar.registry import ClientSettings
from modelcar.store import default_home


@click.command("doctor")
@click.option(
    "--registry",
    "registries",
    multiple=True,
    metavar="HOST|REF",
    help="Ask this registry, too, or for this image of it; may be repeated.",
)
@network_options
@output_options
def command(registries: tuple[str, ...], settings: ClientSettings, output: Output) -> None:
    """Look at what modelcar needs here, and say what is wrong.

    Python, the disk, the configuration and what it sets, logins (never a secret), container engines, and what the
    kernel can mount. Nothing is changed, and without --registry nobody is asked over the network, but for credential
    helpers. Each line is ok, a note (few need it), or a problem, and then says what to do. Exit status 1: there are
    problems.

    \b
      modelcar doctor
      modelcar doctor --registry ghcr.io/acme/llm:v1
      modelcar doctor --json
    """
    found: list[tuple[str, Finding]] = []
    for area, findings in _areas(registries, settings):
        heading = f"\n{area}" if found else area
        for finding in findings:
            if heading:
                output.text(f"{heading}\n")
                heading = ""
            found.append((area, finding))
            _show(output, finding)
    problems = sum(finding.level is Level.PROBLEM for _, finding in found)
    output.document(
        {"healthy": not problems, "findings": [{"area": area, **finding.to_dict()} for area, finding in found]}
    )
    if problems:
        raise Refused(f"{problems} of {len(found)} findings {'is a problem' if problems == 1 else 'are problems'}")


def _areas(registries: tuple[str, ...], settings: ClientSettings) -> Iterator[tuple[str, Iterable[Finding]]]:
    yield "Program", looked("program", look_at_python)
    yield "Configuration", looked("configuration", _configuration)
    yield "Folders", looked("folders", look_at_folders)
    yield "Logins", looked("logins", look_at_logins)
    yield "Engines", looked("engines", look_at_engines)
    yield "Kernel", looked("kernel", lambda: look_at_kernel(default_home()))
    for host in registries:
        yield "Registry", looked(f"registry {host}", lambda host=host: look_at_registry(host, settings))  # type: ignore[misc]  # mypy takes no lambda with a default


def _configuration() -> Iterator[Finding]:
    """The files, and what is in force and from where."""
    files = read_files()
    there = [file for file in files if file.said is not None]
    if not there:
        places = ", ".join(map(str, configuration_files())) or "nowhere"
        yield ok("files", f"none; looked at {places}")
    for file in there:
        if file.path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            yield note("files", f"{file.path}: others may write to it", f"chmod go-w {file.path}")
        else:
            yield ok("files", str(file.path))
    for setting in in_force(files).values():
        yield ok(setting.name, f"{_written(setting.value)}, from {setting.source}")


def _written(value: object) -> str:
    if isinstance(value, float):
        return f"{human_size(value)}/s"  # the only numbers there are rates
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _show(output: Output, finding: Finding) -> None:
    output.line(f"  {finding.level.value:8} {finding.subject}: {finding.message}")
    if finding.hint:
        output.line(f"           {finding.hint}")
