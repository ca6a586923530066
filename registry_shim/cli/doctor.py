"""`registry-shim doctor`."""

from __future__ import annotations

from pathlib import Path

import click

from modelcar.cli.options import NAMED_PATH, output_options
from modelcar.cli.output import Output
from modelcar.doctor.finding import Finding, Level, note
from modelcar.errors import Refused, WorldError
from registry_shim.cli.asking import node_option
from registry_shim.engines.cri import SOCKETS
from registry_shim.engines.doctor import Doctor
from registry_shim.engines.install import Installer
from registry_shim.engines.probes import CriProbe, Probe, command_probes, ctr_probe

__all__ = ["command"]


@click.command("doctor")
@node_option
@click.option(
    "--cri-socket",
    "sockets",
    multiple=True,
    metavar="PATH",
    type=NAMED_PATH,
    help="Engines to pull with; by default those of this node; may be repeated.",
)
@click.option(
    "--canary",
    "canaries",
    multiple=True,
    metavar="IMAGE",
    help="An image that exists, and that your gate must refuse; may be repeated.",
)
@click.option("--timeout", default=60.0, show_default=True, metavar="SECONDS", help="For each pull.")
@output_options
def command(root: Path, sockets: tuple[Path, ...], canaries: tuple[str, ...], timeout: float, output: Output) -> None:
    """Prove that images come through the shim, and that what it refuses cannot be had.

    Tries to pull an image that the shim always refuses, through the engines' own configuration. --canary adds images
    that exist at their registries, so that a way around the shim would really lead somewhere.

    Exit status 1 says that something is not as it should be.

    \b
      registry-shim doctor
      registry-shim doctor --canary ghcr.io/acme/unsigned:v1 --json
    """
    probes, findings = _probes(root, sockets)
    doctor = Doctor(root=root, probes=probes, canaries=canaries, seconds=timeout)
    for finding in findings:
        _show(output, finding)
    for finding in doctor.examine():
        findings.append(finding)
        _show(output, finding)
    problems = sum(finding.level is Level.PROBLEM for finding in findings)
    output.document({"healthy": not problems, "findings": [finding.to_dict() for finding in findings]})
    if problems:
        raise Refused(
            f"{problems} of {len(findings)} findings {'is a problem' if problems == 1 else 'are problems'}: "
            "images may come past the shim, or not at all"
        )


def _probes(root: Path, sockets: tuple[Path, ...]) -> tuple[list[Probe], list[Finding]]:
    """What this node can be asked with, and what was there and could not be."""
    probes: list[Probe] = []
    findings: list[Finding] = []
    at_home = root.resolve() == Path("/")
    for socket in sockets or tuple(_below(root, path) for path in SOCKETS):
        if sockets or socket.is_socket():
            try:
                probes.append(CriProbe(socket))
            except WorldError as e:
                findings.append(note("engine", str(e), "is its CRI switched off?"))
    if at_home:
        probes += command_probes()
        containerd = [w for w in Installer(root).manifest().wired if w.owner == "containerd"]
        if containerd and not any(probe.owner == "containerd" for probe in probes):
            probes.append(ctr_probe(containerd[0].config_path))
    return probes, findings


def _below(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def _show(output: Output, finding: Finding) -> None:
    output.line(f"{finding.level.value:8}{finding.subject}: {finding.message}")
    if finding.hint:
        output.line(f"        {finding.hint}")
