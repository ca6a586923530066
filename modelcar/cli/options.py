"""Options that verbs share, and what they become."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from modelcar.cli.output import Output
from modelcar.errors import UsageError
from modelcar.oci import Platform, Reference
from modelcar.packaging.locations import LayoutLocation, Location, parse_location
from modelcar.registry import ClientSettings
from modelcar.store import LocalStore, default_home

__all__ = [
    "local_name",
    "location_argument",
    "network_options",
    "open_local_store",
    "output_options",
    "platform_option",
]

F = TypeVar("F", bound=Callable[..., Any])


def output_options(command: F) -> F:
    """`--json` and `--quiet`, handed on as `output`."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
    @click.option("-q", "--quiet", is_flag=True, help="No progress, only the answer.")
    @wraps(command)
    def wrapper(*args: Any, as_json: bool, quiet: bool, **kwargs: Any) -> Any:
        return command(*args, output=Output(as_json=as_json, quiet=quiet), **kwargs)

    return cast("F", wrapper)


def network_options(command: F) -> F:
    """`--plain-http` and `--ca-file`, handed on as `settings`."""

    @click.option("--plain-http", is_flag=True, help="Speak HTTP to the registry; the default for localhost.")
    @click.option(
        "--ca-file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="PEM file of the authority that signed the registry's certificate.",
    )
    @wraps(command)
    def wrapper(*args: Any, plain_http: bool, ca_file: Path | None, **kwargs: Any) -> Any:
        return command(*args, settings=ClientSettings(plain_http=plain_http, ca_file=ca_file), **kwargs)

    return cast("F", wrapper)


class _LocationType(click.ParamType[Location]):
    name = "REF"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Location:  # noqa: ARG002
        return value if isinstance(value, LayoutLocation | Reference) else parse_location(value)


class _ReferenceType(click.ParamType[Reference]):
    name = "REF"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Reference:  # noqa: ARG002
        return value if isinstance(value, Reference) else Reference.parse(value)


class _PlatformType(click.ParamType[Platform]):
    name = "OS/ARCH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Platform:  # noqa: ARG002
        return value if isinstance(value, Platform) else Platform.parse(value)


LOCATION = _LocationType()
REFERENCE = _ReferenceType()
PLATFORM = _PlatformType()


def location_argument(name: str = "ref") -> Callable[[F], F]:
    """A REF argument: a reference, or `oci:DIR[:TAG]`."""
    return click.argument(name, type=LOCATION, metavar=name.upper())


def platform_option(help_text: str, *, multiple: bool = False) -> Callable[[F], F]:
    name = "platforms" if multiple else "platform"
    return click.option("--platform", name, type=PLATFORM, multiple=multiple, help=help_text)


def open_local_store() -> LocalStore:
    """The user's own store, under `$MODELCAR_HOME` or where XDG says."""
    return LocalStore(default_home())


def local_name(ref: Reference) -> str:
    """The name under which `ref` is kept in the local store.

    Raises:
        UsageError: it is a digest without a tag, which names nothing that can be kept by name.
    """
    if ref.tag is None:
        raise UsageError(f"{ref} has no tag", hint="give the image a name: registry/repo:tag")
    return f"{ref.name}:{ref.tag}"
