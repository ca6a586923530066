"""The user's configuration: defaults for what people would otherwise repeat, from a file of theirs and the system's.

What the command line says goes before the environment, that before the user's file, and that before the system's.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from modelcar.errors import UsageError
from modelcar.files import is_there
from modelcar.oci import Reference

__all__ = [
    "Configuration",
    "ConfigurationFile",
    "EngineName",
    "InForce",
    "NetworkSettings",
    "ScanDefaults",
    "SignSettings",
    "VerifySettings",
    "apply",
    "configuration_files",
    "defaults_of",
    "in_force",
    "plain_http_at",
    "read_files",
]

T = TypeVar("T")

VARIABLE: Final = "MODELCAR_CONFIG"
_PLAIN_HTTP_AT: Final = "modelcar.plain_http_at"
SYSTEM_FILE: Final = Path("/etc/modelcar/config.yaml")


class EngineName(StrEnum):
    """A container engine of this machine."""

    AUTO = "auto"
    DOCKER = "docker"
    PODMAN = "podman"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """How registries are reached."""

    limit_rate: float | None = None
    """Bytes a second that transfers may take at most: `--limit-rate`."""
    ca_file: Path | None = None
    """PEM file of an authority that signed registries' certificates: `--ca-file`."""
    plain_http: tuple[str, ...] = ()
    """Registries (HOST or HOST:PORT) that are spoken to without TLS. Loopback ones need not be named."""

    def __post_init__(self) -> None:
        if self.limit_rate is not None and self.limit_rate <= 0:
            raise UsageError("limit_rate is more than 0")
        for host in self.plain_http:
            if Reference.parse(f"{host}/name").registry != host:
                raise UsageError(f"plain_http: {host!r} is not a registry; it looks like registry.internal:5000")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignSettings:
    """Who signs: `modelcar sign` and `modelcar attest`. Nothing is signed that was not told to be."""

    key: str | None = None
    """A file, `env://NAME` or a key service's URL: `--key`."""
    keyless: bool | None = None
    """Whether to sign as who you are: `--keyless`."""

    def __post_init__(self) -> None:
        if self.key is not None and self.keyless:
            raise UsageError("either a key signs or an identity does: key or keyless, not both")


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifySettings:
    """Whose word is taken: `modelcar verify` and `modelcar mount`. If an option says it, none of these count."""

    key: tuple[str, ...] = ()
    """Public keys, any of which will do: `--key`."""
    certificate_identity: str | None = None
    """The identity that signs: `--certificate-identity`."""
    certificate_oidc_issuer: str | None = None
    """Who vouches for it: `--certificate-oidc-issuer`."""
    policy: tuple[Path, ...] = ()
    """Policy files, or folders of them; all must be satisfied: `--policy`."""
    deny_list: tuple[Path, ...] = ()
    """Files with digests that are revoked: `--deny-list`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanDefaults:
    """How `modelcar scan` looks."""

    scanners: tuple[str, ...] = ()
    """Scanners to ask, too: `--with`."""
    policy: tuple[Path, ...] = ()
    """Policies whose licence rules count: `--policy`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Everything is optional. A path is relative to the folder of the file it stands in; `~` is your home folder."""

    home: Path | None = None
    """The folder of the local store, as `MODELCAR_HOME` says it."""
    engine: EngineName | None = None
    """What `modelcar load` loads into: `--engine`."""
    network: NetworkSettings = field(default_factory=NetworkSettings)
    """How registries are reached."""
    sign: SignSettings = field(default_factory=SignSettings)
    """Who signs."""
    verify: VerifySettings = field(default_factory=VerifySettings)
    """Whose word is taken."""
    scan: ScanDefaults = field(default_factory=ScanDefaults)
    """How is scanned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationFile:
    """A file that may say something, and what it says; `None` where it is not there."""

    path: Path
    said: Configuration | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """A setting that somebody made: its dotted name, its value, and where that comes from."""

    name: str
    value: Any
    source: str


# Which options of which verbs (by the names of click's parameters) a setting is the default of.
_OPTIONS: Final[Mapping[str, tuple[tuple[str, tuple[str, ...]], ...]]] = {
    "engine": (("engine", ("load",)),),
    "network.limit_rate": (("limit", ("build", "copy", "pull", "push")),),
    "network.ca_file": (
        (
            "ca_file",
            (
                *("archive", "attest", "build", "copy", "diff", "inject", "inspect", "mount", "plan", "pull", "push"),
                *("scan", "sign", "verify"),
            ),
        ),
    ),
    "sign.key": (("key", ("attest", "sign")),),
    "sign.keyless": (("keyless", ("attest", "sign")),),
    "verify.key": (("keys", ("mount", "verify")),),
    "verify.certificate_identity": (("subject", ("mount", "verify")),),
    "verify.certificate_oidc_issuer": (("issuer", ("mount", "verify")),),
    "verify.policy": (("files", ("mount", "verify")),),
    "verify.deny_list": (("deny_lists", ("mount", "verify")),),
    "scan.scanners": (("plugins", ("scan",)),),
    "scan.policy": (("policies", ("scan",)),),
}
# Whoever gives one of these has said who is meant: the file's other answers to that question are no defaults then.
_ONE_ANSWER: Final[Mapping[str, tuple[str, ...]]] = {
    "sign": ("--key", "--keyless"),
    "verify": (
        *("--key", "--certificate-identity", "--certificate-identity-regexp", "--certificate-oidc-issuer"),
        *("--certificate-oidc-issuer-regexp", "--policy", "--deny-list"),
    ),
}


def apply(context: click.Context, words: Sequence[str]) -> None:
    """Let the files' settings be the defaults of what follows in `words`, and of processes that it starts.

    Raises as `read_files`.
    """
    files = read_files()
    if all(file.said is None for file in files):
        return
    settings = in_force(files)
    context.default_map = defaults_of(settings, words)
    context.meta[_PLAIN_HTTP_AT] = frozenset(
        settings["network.plain_http"].value if "network.plain_http" in settings else ()
    )
    if "home" in settings:
        os.environ["MODELCAR_HOME"] = str(settings["home"].value)  # everything looks there, in other processes too


def plain_http_at() -> frozenset[str]:
    """The registries that the configuration says are spoken to without TLS."""
    context = click.get_current_context(silent=True)
    return frozenset(context.meta.get(_PLAIN_HTTP_AT, ())) if context is not None else frozenset()


def configuration_files(environment: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """Where is looked, what goes first coming first: the file that `MODELCAR_CONFIG` names and no other, or the user's
    and the system's. An empty variable is no file at all.
    """
    if (named := environment.get(VARIABLE)) is not None:
        return (Path(named),) if named else ()
    folder = environment.get("XDG_CONFIG_HOME")
    home = environment.get("HOME")
    own = Path(folder) if folder else Path(home, ".config") if home else None
    return (*((own / "modelcar" / "config.yaml",) if own else ()), SYSTEM_FILE)


def read_files(environment: Mapping[str, str] = os.environ) -> tuple[ConfigurationFile, ...]:
    """All files, read.

    Raises:
        UsageError: one is not a configuration, or the one that `MODELCAR_CONFIG` names is not there.
        StorageError: one is there and cannot be read.
    """
    found = []
    named = bool(environment.get(VARIABLE))
    for path in configuration_files(environment):
        if not _is_there(path, named=named):
            if named:
                raise UsageError(f"{path} is not there", hint=f"{VARIABLE} names it")
            found.append(ConfigurationFile(path=path, said=None))
            continue
        from modelcar.serving.config.reading import load_file

        found.append(ConfigurationFile(path=path, said=_located(load_file(path, Configuration), path)))
    return tuple(found)


def _is_there(path: Path, *, named: bool) -> bool:
    """A file in a folder that we may not enter, such as another user's home, is nobody's configuration, unless somebody
    named it: then reading it says what is in the way."""
    try:
        return is_there(path)
    except OSError:
        return named


def in_force(files: Sequence[ConfigurationFile], environment: Mapping[str, str] = os.environ) -> dict[str, InForce]:
    """What is set, by name; what the command line says is not known here."""
    settings: dict[str, InForce] = {}
    if home := environment.get("MODELCAR_HOME"):
        settings["home"] = InForce(name="home", value=Path(home), source="MODELCAR_HOME")
    for file in files:
        for name, value in _said(file.said) if file.said is not None else ():
            settings.setdefault(name, InForce(name=name, value=value, source=str(file.path)))
    return settings


def defaults_of(settings: Mapping[str, InForce], words: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """The defaults of options by verb and parameter, as click takes them; `words` is what stands behind the verb."""
    defaults: dict[str, dict[str, Any]] = {}
    given = {word.partition("=")[0] for word in words}
    for name, setting in settings.items():
        group = name.partition(".")[0]
        if given.intersection(_ONE_ANSWER.get(group, ())):
            continue
        for parameter, verbs in _OPTIONS.get(name, ()):
            for verb in verbs:
                defaults.setdefault(verb, {})[parameter] = _as_words(setting.value)
    return defaults


def _as_words(value: Any) -> Any:
    """A value as it would be typed; numbers as whole ones, because nobody types more."""
    if isinstance(value, tuple):
        return tuple(map(str, value))
    if isinstance(value, bool):
        return value
    return f"{value:.0f}" if isinstance(value, float) else str(value)


def _said(group: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The settings that are set, by dotted name."""
    for each in dataclasses.fields(group):
        value = getattr(group, each.name)
        name = f"{path}.{each.name}".removeprefix(".")
        if dataclasses.is_dataclass(value):
            yield from _said(value, name)
        elif value is not None and value != ():
            yield name, value


def _located(group: T, file: Path) -> T:
    """The same with every path made absolute: files are named from where the configuration lies."""
    changes: dict[str, Any] = {}
    for each in dataclasses.fields(group):  # type: ignore[arg-type]  # it is a dataclass
        value = getattr(group, each.name)
        if dataclasses.is_dataclass(value):
            changes[each.name] = _located(value, file)
        elif isinstance(value, Path):
            changes[each.name] = _absolute(value, file)
        elif isinstance(value, tuple) and value and isinstance(value[0], Path):
            changes[each.name] = tuple(_absolute(path, file) for path in value)
        elif each.name == "key" and value:
            changes[each.name] = _key(value, file) if isinstance(value, str) else tuple(_key(k, file) for k in value)
    return dataclasses.replace(group, **changes)  # type: ignore[type-var]  # likewise


def _absolute(path: Path, file: Path) -> Path:
    try:
        return file.absolute().parent / path.expanduser()
    except RuntimeError:
        raise UsageError(f"{file}: {path} names a home folder that nobody has") from None


def _key(key: str, file: Path) -> str:
    """A file that is named from where the configuration lies; what is no file stays as it is."""
    return key if "://" in key or key.startswith("sha256:") else str(_absolute(Path(key), file))
