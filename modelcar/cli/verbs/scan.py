"""`modelcar scan`."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

import click

from modelcar.cli.images import existing_local_store
from modelcar.cli.models import is_source
from modelcar.cli.options import network_options, output_options
from modelcar.cli.output import Output, Table
from modelcar.cli.places import open_place
from modelcar.cli.progress import progress
from modelcar.cli.reports import show_report
from modelcar.cli.scanning import Consequences, consequence_options, scan_options
from modelcar.cli.source import open_for_scan
from modelcar.cli.trust import SignatoryChoice, signatory_options
from modelcar.errors import ModelcarError, UsageError, WorldError
from modelcar.images.scan_folders import report_memo
from modelcar.images.scans import predicates, quick_scan, scan, scan_at
from modelcar.oci import Descriptor
from modelcar.packaging.locations import parse_location
from modelcar.progress import Progress
from modelcar.registry import ClientSettings
from modelcar.scanning.report import Report
from modelcar.scanning.settings import ScanSettings
from modelcar.signing.attestations.attest import attach_statement, check_not_hiding, check_other_signer
from modelcar.signing.places import LayoutPlace, RegistryPlace
from modelcar.signing.ruleset import SCAN_VERDICT
from modelcar.signing.signatory import Signatory
from modelcar.signing.statement import Statement

_REFUSED: Final = 1  # exit status


@click.command("scan")
@click.argument("target", metavar="SOURCE|REF", required=False)
@click.option("--all", "all_images", is_flag=True, help="Scan every image of the local store.")
@click.option("--quick", is_flag=True, help="Read only headers of a remote image: it may be malicious, never clean.")
@click.option("--remote", is_flag=True, help="Ask the registry even if the local store has the image.")
@click.option("--again", is_flag=True, help="Scan even if a report by the present rules is at hand.")
@scan_options
@click.option("--scanners", is_flag=True, help="List the scanners that --with takes.")
@consequence_options
@signatory_options
@click.option("--allow-same-signer", is_flag=True, help="Attest with the key or identity that signed the image.")
@network_options
@output_options
def command(
    target: str | None,
    all_images: bool,
    quick: bool,
    remote: bool,
    again: bool,
    scanners: bool,
    consequences: Consequences,
    signatory_choice: SignatoryChoice,
    allow_same_signer: bool,
    how: ScanSettings,
    settings: ClientSettings,
    output: Output,
) -> None:
    """Look for what does harm, and say what nobody can vouch for.

    SOURCE is a folder, a file or hf://org/name[@revision]; REF is an image. The verdict is clean only if every
    byte was read and understood and nothing was found; else it is unverified or malicious, with exit status 1. With
    --fail-on malicious an unverified one will do, with --fail-on never the report alone counts.

    With --key or --keyless the verdict is attached to the image as a signed statement, which `modelcar verify --policy`
    can require.

    \b
      modelcar scan ./my-model
      modelcar scan ghcr.io/acme/llm:v1 --quick
      modelcar scan ghcr.io/acme/llm:v1 --key scanner.key
    """
    consequences.check(output)
    signing = _Signing(signatory_choice, allow_same_signer=allow_same_signer)
    if scanners:
        _show_scanners(output)
    elif all_images:
        if target is not None or quick or remote or signing.wanted or consequences.writes:
            raise UsageError(
                "--all scans the images of the local store, and takes only --again, --fail-on and bounds beside it"
            )
        _scan_all(how, consequences, output, again=again)
    elif target is None:
        raise UsageError("nothing says what to scan", hint="name a folder or an image, or give --all")
    elif is_source(target):
        if quick or remote or signing.wanted:
            raise UsageError(f"{target} is no image", hint="--quick, --remote, --key and --keyless are for images")
        checkpoint = open_for_scan(target, output)
        with progress(output, "scan") as report_progress:
            report = scan(checkpoint, how, subject=target, progress=report_progress)
        _answer(report, report.to_dict(), output, consequences)
    else:
        if quick and signing.wanted:
            hint = "it reads parts of layers and checks no digest; leave --quick out"
            raise UsageError("what a quick scan saw is not signed", hint=hint)
        report, answer = _scan_reference(
            target, how, signing, settings, output, quick=quick, remote=remote or quick, again=again
        )
        _answer(report, answer, output, consequences)


class _Signing:
    """Signs the verdict, if that was asked for."""

    def __init__(self, choice: SignatoryChoice, *, allow_same_signer: bool) -> None:
        self._choice = choice
        self._allow_same_signer = allow_same_signer
        # A key is opened before any long work: it may ask for a password. A certificate is valid for minutes.
        self._signatory: Signatory | None = choice.signatory() if choice.key is not None else None

    @property
    def wanted(self) -> bool:
        return self._signatory is not None or self._choice.keyless

    def check(self, place: RegistryPlace | LayoutPlace, root: Descriptor) -> None:
        """Raises `UsageError` where it is known already that this verdict must not be signed so."""
        if self.wanted:
            check_not_hiding(place, root.digest)
        if self._signatory is not None and not self._allow_same_signer:
            check_other_signer(place, root.digest, self._signatory)

    def attach(
        self, place: RegistryPlace | LayoutPlace, root: Descriptor, report: Report, output: Output
    ) -> dict[str, Any]:
        """Attach the verdict; returns what the answer says of it."""
        if not self.wanted:
            return {}
        if self._signatory is None:
            self._signatory = self._choice.signatory()
            self.check(place, root)
        attached = []
        for subject, predicate in predicates(place, root, report):
            statement = Statement.about(subject.digest, SCAN_VERDICT, predicate)
            referrer, _ = attach_statement(place, subject, self._signatory, statement, created=datetime.now(UTC))
            attached.append({"digest": str(subject.digest), "referrer": str(referrer) if referrer else None})
        output.aside(f"the verdict is attached, signed by {self._signatory}")
        return {"attached": attached}


def _scan_reference(
    target: str,
    how: ScanSettings,
    signing: _Signing,
    settings: ClientSettings,
    output: Output,
    *,
    quick: bool,
    remote: bool,
    again: bool,
) -> tuple[Report, dict[str, Any]]:
    """Scan the image that `target` names; returns the report, and the answer as JSON."""
    location = parse_location(target)
    with ExitStack() as stack:
        report_progress = stack.enter_context(progress(output, "scan"))
        place, root = open_place(location, remote=remote, settings=settings, stack=stack, progress=report_progress)
        signing.check(place, root)
        if not quick:
            report = _scan_image(place, root, how, str(location), report_progress, again=again)
        elif isinstance(place, RegistryPlace):
            report = quick_scan(place, root, how, subject=str(location), progress=report_progress)
        else:
            raise UsageError(f"{location} is on this machine", hint="leave --quick out: it is there to save downloads")
        return report, {**report.to_dict(), **signing.attach(place, root, report, output)}


def _show_scanners(output: Output) -> None:
    from modelcar.scanning.plugins.loading import installed_plugins

    installed = installed_plugins()
    rows = [[each.name, each.version, each.package, each.problem or "ready"] for each in installed]
    output.table(Table(columns=("scanner", "version", "from", "state"), rows=rows))
    output.document([asdict(each) for each in installed])


def _answer(report: Report, answer: dict[str, Any], output: Output, consequences: Consequences) -> None:
    consequences.write(report, output)
    if not consequences.is_answer:
        show_report(output, report)
    output.document(answer)
    if report.outcome in consequences.refused:
        raise click.exceptions.Exit(_REFUSED)


def _scan_image(
    place: RegistryPlace | LayoutPlace,
    root: Descriptor,
    how: ScanSettings,
    subject: str,
    report_progress: Progress,
    *,
    again: bool,
) -> Report:
    store = existing_local_store()
    here = store.content if store is not None else None
    memo = report_memo()
    if again:
        memo.forget(root.digest)
    return scan_at(place, root, how, subject=subject, here=here, memo=memo, progress=report_progress)


def _scan_all(how: ScanSettings, consequences: Consequences, output: Output, *, again: bool) -> None:
    """Every image of the local store; those that were scanned by the present rules are not read again."""
    store = existing_local_store()
    reports: dict[str, Report] = {}
    failures: dict[str, ModelcarError] = {}
    if store is not None:
        with store.session(), progress(output, "scan") as report_progress:
            place = LayoutPlace(store.content)
            for name, root in store.names.list().items():
                try:
                    reports[name] = _scan_image(place, root, how, name, report_progress, again=again)
                except ModelcarError as e:  # weights that are gone, say: the others are looked at all the same
                    failures[name] = e
    rows = [[name, str(report.outcome), str(len(report.all_findings))] for name, report in reports.items()]
    rows += [[name, "not scanned", ""] for name in failures]
    output.table(Table(columns=("image", "verdict", "findings"), rows=rows, right=frozenset({"findings"})))
    documents = [{"name": name, **report.to_dict()} for name, report in reports.items()]
    output.document([*documents, *({"name": name, "error": str(e)} for name, e in failures.items())])
    if failures:
        reasons = tuple(f"{name}: {e}" for name, e in failures.items())
        raise WorldError(f"{len(failures)} of {len(rows)} images could not be scanned", reasons=reasons)
    if any(report.outcome in consequences.refused for report in reports.values()):
        raise click.exceptions.Exit(_REFUSED)
