"""Options that say how to scan, and what they become."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from modelcar.images.scan_folders import spool_folder
from modelcar.oci import Digest
from modelcar.scanning.limits import Limits
from modelcar.scanning.plugins.loading import load_plugins
from modelcar.scanning.settings import ScanSettings

if TYPE_CHECKING:
    from modelcar.signing.policy.licenses import LicenseRule

__all__ = ["scan_options"]

F = TypeVar("F", bound=Callable[..., Any])


def scan_options(command: F) -> F:
    """Handed on as `how`."""

    @click.option(
        "--with", "plugins", metavar="NAME", multiple=True, help="Ask this scanner, too; `--scanners` lists them."
    )
    @click.option(
        "--policy",
        "policies",
        type=click.Path(exists=True, path_type=Path),
        multiple=True,
        help="Hold licences to the ModelPolicies in this file or folder.",
    )
    @click.option(
        "--trust-layer",
        "trusted_layers",
        metavar="DIGEST",
        multiple=True,
        help="Take this layer, of a base image say, for granted.",
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
    from modelcar.errors import UsageError
    from modelcar.signing.policy import load
    from modelcar.signing.policy.modelpolicy import ModelPolicy

    rules = tuple(p.licenses for p in load(files).policies if isinstance(p, ModelPolicy) and p.licenses is not None)
    if not rules:
        raise UsageError("no policy says which licences are allowed", hint="a ModelPolicy with `licenses` does")
    return rules
