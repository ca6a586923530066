"""Which other scanners are installed, and getting hold of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from modelcar.errors import ModelcarError, UsageError
from modelcar.scanning.findings import shown
from modelcar.scanning.plugins.interface import ScannerFailed, ScannerPlugin

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint, EntryPoints

__all__ = ["GROUP", "InstalledPlugin", "LoadedPlugin", "installed_plugins", "load_plugins"]

GROUP: Final = "modelcar.scanners"
_UNKNOWN: Final = "unknown"
_LONGEST: Final = 100  # characters of a version


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedPlugin:
    """A scanner that can be asked. `factory` is `module:attribute` of what makes one, for other processes."""

    name: str
    version: str
    factory: str
    scanner: ScannerPlugin


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledPlugin:
    """A scanner that some package offers.

    Attributes:
        package: name and version of that package.
        version: the scanner's own; `unknown` where it cannot tell now.
        problem: why it cannot be asked; `None` if it can.
    """

    name: str
    package: str
    version: str = _UNKNOWN
    problem: str | None = None


def load_plugins(names: Iterable[str]) -> tuple[LoadedPlugin, ...]:
    """The scanners with these names, each once.

    Raises:
        UsageError: there is none of that name, or two; or it cannot be loaded.
    """
    return tuple(_load(_entry(name)) for name in dict.fromkeys(names))


def installed_plugins() -> tuple[InstalledPlugin, ...]:
    """All that installed packages offer, by name. Each is loaded to see whether it can be."""
    return tuple(_examine(entry) for entry in sorted(_entries(), key=lambda entry: entry.name))


def _entries() -> EntryPoints:
    from importlib.metadata import entry_points  # slow to import, and most scans do without

    return entry_points(group=GROUP)


def _entry(name: str) -> EntryPoint:
    known = _entries()
    entries = list(known.select(name=name))
    if not entries:
        raise UsageError(
            f"no scanner {shown(name)} is installed",
            hint=f"there are: {', '.join(sorted(known.names))}" if known else "modelcar itself is not installed",
        )
    if len(entries) > 1:
        packages = " and ".join(sorted(_package(entry) for entry in entries))
        raise UsageError(f"{packages} both offer a scanner {shown(name)}", hint="uninstall one of them")
    return entries[0]


def _load(entry: EntryPoint) -> LoadedPlugin:
    try:
        scanner = entry.load()()
    except ModelcarError:
        raise
    except Exception as e:
        why = f"{type(e).__name__}: {shown(str(e))[1:-1]}"
        raise UsageError(
            f"the scanner {entry.name} of {_package(entry)} cannot be loaded: {why}",
            hint="install that package anew, or scan without it",
        ) from None
    if not isinstance(scanner, ScannerPlugin) or scanner.name != entry.name:
        raise UsageError(
            f"what {_package(entry)} offers as {entry.name} is no scanner of that name",
            hint="it must be a modelcar.scanning.plugins.ScannerPlugin",
        )
    return LoadedPlugin(name=entry.name, version=_version(scanner), factory=entry.value, scanner=scanner)


def _version(scanner: ScannerPlugin) -> str:
    """Not to know it is no reason to stop: whatever keeps it from telling will keep it from scanning."""
    try:
        return shown(str(scanner.version()), _LONGEST)[1:-1] or _UNKNOWN
    except Exception:
        return _UNKNOWN


def _examine(entry: EntryPoint) -> InstalledPlugin:
    try:
        loaded = _load(entry)
    except ModelcarError as e:
        problem = f"{e} ({e.hint})" if e.hint else str(e)
        return InstalledPlugin(name=entry.name, package=_package(entry), problem=problem)
    trouble = None
    try:
        loaded.scanner.version()
    except Exception as e:
        trouble = shown(f"{type(e).__name__}: {e}" if not isinstance(e, ScannerFailed) else str(e))[1:-1]
    return InstalledPlugin(name=loaded.name, package=_package(entry), version=loaded.version, problem=trouble)


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown package"
