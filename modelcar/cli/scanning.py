"""Options that say how to scan and what becomes of the report, and what they become."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import click

from modelcar.cli.options import NamedPath
from modelcar.cli.output import Output
from modelcar.errors import StorageError, UsageError
from modelcar.images.scan_folders import spool_folder
from modelcar.oci import Digest
from modelcar.scanning.findings import Outcome
from modelcar.scanning.limits import Limits
from modelcar.scanning.markdown import to_markdown
from modelcar.scanning.plugins.loading import load_plugins
from modelcar.scanning.report import Report
from modelcar.scanning.sarif import to_sarif
from modelcar.scanning.settings import ScanSettings

if TYPE_CHECKING:
    from modelcar.signing.policy.licenses import LicenseRule

__all__ = ["Consequences", "consequence_options", "scan_options"]

F = TypeVar("F", bound=Callable[..., Any])
_STDOUT: Final = "-"
_FILE: Final = NamedPath(allow_dash=True, path_type=str)
_REFUSED: Final = {
    "unverified": frozenset({Outcome.UNVERIFIED, Outcome.MALICIOUS}),
    "malicious": frozenset({Outcome.MALICIOUS}),
    "never": frozenset[Outcome](),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Consequences:
    """What becomes of a report: the files that it is written to (`-` is standard output), and the verdicts that are a
    no."""

    sarif: str | None
    markdown: str | None
    refused: frozenset[Outcome]

    @property
    def writes(self) -> bool:
        return self.sarif is not None or self.markdown is not None

    @property
    def is_answer(self) -> bool:
        """Whether one of them goes to standard output, in place of the usual answer."""
        return _STDOUT in (self.sarif, self.markdown)

    def check(self, output: Output) -> None:
        """Raises `UsageError` if standard output is wanted twice."""
        if (self.sarif, self.markdown, output.as_json and _STDOUT).count(_STDOUT) > 1:
            raise UsageError("two forms want standard output", hint="of --json, --sarif - and --markdown - give one")

    def write(self, report: Report, output: Output) -> None:
        """Raises `StorageError`."""
        if self.sarif is not None:
            _write(self.sarif, json.dumps(to_sarif(report), indent=1), output)
        if self.markdown is not None:
            _write(self.markdown, to_markdown(report), output)


def consequence_options(command: F) -> F:
    """Handed on as `consequences`."""

    @click.option("--sarif", type=_FILE, metavar="FILE", help="Write the findings as SARIF 2.1.0; - is stdout.")
    @click.option("--markdown", type=_FILE, metavar="FILE", help="Write verdict and findings as Markdown; - is stdout.")
    @click.option(
        "--fail-on",
        type=click.Choice([*_REFUSED]),
        default="unverified",
        show_default=True,
        help="From which verdict on the exit status is 1.",
    )
    @wraps(command)
    def wrapper(*args: Any, sarif: str | None, markdown: str | None, fail_on: str, **kwargs: Any) -> Any:
        consequences = Consequences(sarif=sarif, markdown=markdown, refused=_REFUSED[fail_on])
        return command(*args, consequences=consequences, **kwargs)

    return cast("F", wrapper)


def _write(file: str, text: str, output: Output) -> None:
    if file == _STDOUT:
        output.text(text)
        return
    try:
        Path(file).write_text(text, "utf-8")
    except OSError as e:
        raise StorageError(f"cannot write {file}: {e.strerror}") from None


def scan_options(command: F) -> F:
    """Handed on as `how`."""

    @click.option(
        "--with",
        "plugins",
        metavar="NAME",
        multiple=True,
        help="Ask this scanner, too; may be repeated. `--scanners` lists them.",
    )
    @click.option(
        "--policy",
        "policies",
        type=NamedPath(exists=True),
        multiple=True,
        help="Hold licences to the ModelPolicies in this file or folder; may be repeated.",
    )
    @click.option(
        "--trust-layer",
        "trusted_layers",
        metavar="DIGEST",
        multiple=True,
        help="Take this layer, of a base image say, for granted; may be repeated.",
    )
    @click.option(
        "--timeout",
        type=click.FloatRange(min=1),
        default=Limits().seconds,
        show_default=True,
        metavar="SECONDS",
        help="For each file.",
    )
    @wraps(command)
    def wrapper(
        *args: Any,
        plugins: tuple[str, ...],
        policies: tuple[Path, ...],
        trusted_layers: tuple[str, ...],
        timeout: float,
        **kwargs: Any,
    ) -> Any:
        how = ScanSettings(
            limits=Limits(seconds=timeout),
            spool=spool_folder(),
            trusted_layers=frozenset(map(Digest.parse, trusted_layers)),
            plugins=load_plugins(plugins),
            licenses=_licenses(policies),
        )
        return command(*args, how=how, **kwargs)

    return cast("F", wrapper)


def _licenses(files: tuple[Path, ...]) -> tuple[LicenseRule, ...]:
    """The rules on licences of all policies; what else those say is for `modelcar verify`."""
    if not files:
        return ()
    from modelcar.signing.policy import load
    from modelcar.signing.policy.modelpolicy import ModelPolicy

    rules = tuple(p.licenses for p in load(files).policies if isinstance(p, ModelPolicy) and p.licenses is not None)
    if not rules:
        raise UsageError("no policy says which licences are allowed", hint="a ModelPolicy with `licenses` does")
    return rules
