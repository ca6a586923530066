"""Options and arguments that verbs share, and what they become."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import click

from modelcar.cli.configuration import plain_http_at
from modelcar.cli.output import Output
from modelcar.errors import RemoteNotFound, UsageError
from modelcar.oci import Platform, Reference
from modelcar.packaging.locations import Location, StoredLocation, parse_location
from modelcar.packaging.plan import DEFAULT_MAX_LAYERS, Packing

if TYPE_CHECKING:
    from modelcar.serving.settings import LogSettings

__all__ = [
    "BASE",
    "EXISTING_FILE",
    "KERNEL_MOUNTS",
    "NAMED_PATH",
    "OWN_BASES",
    "REFERENCE",
    "NamedPath",
    "kubeconfig_option",
    "location_argument",
    "log_option",
    "log_settings",
    "max_layers_option",
    "mount_from_option",
    "network_options",
    "output_options",
    "packing_options",
    "platform_option",
    "verbose_option",
]

F = TypeVar("F", bound=Callable[..., Any])
OWN_BASES: Final = ("holder", "scratch")


class NamedPath(click.Path):
    """A path that is not empty: `--root "$UNSET"` is not the folder where one stands by chance."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"path_type": Path, **options})

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("an empty path names nothing", param, ctx)
        try:
            if b"\0" in os.fsencode(value):
                self.fail("no path has a NUL in it", param, ctx)
        except UnicodeEncodeError:
            self.fail("it is not valid UTF-8", param, ctx)
        return super().convert(value, param, ctx)


NAMED_PATH: Final = NamedPath()
EXISTING_FILE: Final = NamedPath(exists=True, dir_okay=False)
KERNEL_MOUNTS: Final = click.Choice(["auto", "erofs", "fuse"])


def output_options(command: F) -> F:
    """`--json`, `--quiet` and `--verbose`, handed on as `output`."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
    @click.option("-q", "--quiet", is_flag=True, help="No progress, only the answer.")
    @verbose_option
    @wraps(command)
    def wrapper(*args: Any, as_json: bool, quiet: bool, verbose: bool, **kwargs: Any) -> Any:
        if quiet and verbose:
            raise UsageError("--quiet and --verbose exclude each other", hint="leave out one of them")
        output = Output(as_json=as_json, quiet=quiet, verbose=verbose)
        if not verbose:
            return command(*args, output=output, **kwargs)
        from modelcar.cli.verbosity import telling_all

        with telling_all(click.get_current_context().find_root().info_name or "modelcar"):
            return command(*args, output=output, **kwargs)

    return cast("F", wrapper)


def verbose_option(command: F) -> F:
    """`--verbose`, handed on as `verbose`."""
    text = "Log every request, and what is decided, on stderr; no secrets."
    return click.option("-v", "--verbose", is_flag=True, help=text)(command)


def network_options(command: F) -> F:
    """`--plain-http` and `--ca-file`, handed on as `settings`."""

    @click.option("--plain-http", is_flag=True, help="Speak HTTP to the registry; the default for localhost.")
    @click.option(
        "--ca-file",
        type=EXISTING_FILE,
        help="PEM file of the authority that signed the registry's certificate.",
    )
    @wraps(command)
    def wrapper(*args: Any, plain_http: bool, ca_file: Path | None, **kwargs: Any) -> Any:
        from modelcar.registry import ClientSettings

        settings = ClientSettings(plain_http=plain_http, plain_http_at=plain_http_at(), ca_file=ca_file)
        try:
            return command(*args, settings=settings, **kwargs)
        except RemoteNotFound as e:
            if e.missing is not None:
                from modelcar.cli.tags import tags_there

                e.hint = tags_there(e.missing, settings) or e.hint
            raise

    return cast("F", wrapper)


class _LocationType(click.ParamType[Location]):
    name = "REF"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Location:  # noqa: ARG002  # click's signature
        return value if isinstance(value, StoredLocation | Reference) else parse_location(value)


class _ReferenceType(click.ParamType[Reference]):
    name = "REF"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Reference:  # noqa: ARG002  # click's signature
        if isinstance(value, Reference):
            return value
        if value.startswith(("oci:", "oci-archive:")):
            raise UsageError(
                f"{value!r} is an OCI layout, and here an image of the local store or a registry is meant",
                hint="`modelcar copy` and `modelcar pull` take layouts",
            )
        return Reference.parse(value)


class _BaseType(click.ParamType[str]):
    name = "BASE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002  # click's signature
        if value not in OWN_BASES:
            parse_location(value)  # better now than after a download
        return str(value)


class _PlatformType(click.ParamType[Platform]):
    name = "OS/ARCH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Platform:  # noqa: ARG002  # click's signature
        return value if isinstance(value, Platform) else Platform.parse(value)


LOCATION = _LocationType()
REFERENCE = _ReferenceType()
PLATFORM = _PlatformType()
BASE = _BaseType()


def location_argument(name: str = "ref") -> Callable[[F], F]:
    """A REF argument: a reference, `oci:DIR[:TAG]` or `oci-archive:FILE[:TAG]`."""
    return click.argument(name, type=LOCATION, metavar=name.upper())


def platform_option(help_text: str, *, multiple: bool = False) -> Callable[[F], F]:
    name = "platforms" if multiple else "platform"
    return click.option("--platform", name, type=PLATFORM, multiple=multiple, help=help_text)


def max_layers_option(command: F) -> F:
    """`--max-layers`: engines mount an image as one overlay, which takes only so many."""
    option = click.option(
        "--max-layers",
        type=click.IntRange(4, 127),
        default=DEFAULT_MAX_LAYERS,
        show_default=True,
        metavar="N",
        help="Pack small shards together rather than have more layers.",
    )
    return option(command)


def mount_from_option(command: F) -> F:
    """`--mount-from`, handed on as `mount_from`."""
    text = "Mount layers that this repository of the same registry has, rather than send them; may be repeated."
    return click.option("--mount-from", multiple=True, metavar="REPO", help=text)(command)


def kubeconfig_option(command: F) -> F:
    """`--kubeconfig`; `None` is the cluster whose pod this runs in."""
    return click.option("--kubeconfig", metavar="FILE", type=NAMED_PATH, help="The cluster, where it runs in none.")(
        command
    )


def log_option(form: str) -> Callable[[F], F]:
    """`--log`, handed on as `log_format`; `form` is the default."""
    forms = click.Choice(["plain", "logfmt", "json"])
    return click.option("--log", "log_format", type=forms, default=form, show_default=True, help="The form of its log.")


def log_settings(form: str, *, verbose: bool) -> LogSettings:
    """What `--log` and `--verbose` say."""
    from modelcar.serving.settings import Level, LogFormat, LogSettings

    return LogSettings(format=LogFormat(form), level=Level.DEBUG if verbose else Level.WARNING)


def packing_options(command: F) -> F:
    """`--estargz` and `--soci`, handed on as `packing`."""

    @click.option("--estargz", is_flag=True, help="Pack the weights for stargz-snapshotter, not for modelcar's mounts.")
    @click.option("--soci", is_flag=True, help="Add a SOCI index, for the SOCI snapshotter (one more hash).")
    @wraps(command)
    def wrapper(*args: Any, estargz: bool, soci: bool, **kwargs: Any) -> Any:
        if estargz and soci:
            raise UsageError("an image is packed for one snapshotter", hint="leave out --estargz or --soci")
        packing = Packing.ESTARGZ if estargz else Packing.SOCI if soci else Packing.TAR
        return command(*args, packing=packing, **kwargs)

    return cast("F", wrapper)
