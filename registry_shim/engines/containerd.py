"""containerd: one hosts.toml for each registry, and the line of its own configuration that makes it read them.

The `server` of a hosts.toml is the last that containerd asks, so there is nothing to fall back to. But it takes a file
that it cannot parse for an absent one, and then asks the registry itself: nothing is written here that 1.5 cannot read.
For 1.x that means a `host` table as well, so the shim is asked again about what it refuses.
"""

from __future__ import annotations

import fnmatch
import re
import tomllib
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

from registry_shim.engines.files import HEADER, PlannedFile, quoted
from registry_shim.engines.settings import WiringSettings

__all__ = [
    "CONFIG",
    "DROP_IN",
    "Advice",
    "ConfigFile",
    "advise",
    "hosts_file",
    "hosts_folder",
    "parse_version",
    "place_of",
    "plan",
    "schema_of",
]

CONFIG: Final = PurePosixPath("/etc/containerd/config.toml")
DROP_IN: Final = PurePosixPath("/etc/containerd/conf.d/99-modelcar-shim.toml")
_CA_NAME: Final = "shim-ca.crt"
_DEFAULTS: Final = "/etc/containerd/certs.d:/etc/docker/certs.d"  # of 2.2 and later
_PLUGINS: Final = {2: "io.containerd.grpc.v1.cri", 3: "io.containerd.cri.v1.images", 4: "io.containerd.cri.v1.images"}


def hosts_folder(registry: str) -> str:
    """The name that containerd looks for first: a colon is written as underscores."""
    host, colon, port = registry.rpartition(":")
    return f"{host}_{port}_" if colon else registry


def hosts_file(settings: WiringSettings) -> str:
    """The hosts.toml; the same for each registry."""
    capable = ['capabilities = ["pull", "resolve"]', f'dial_timeout = "{settings.dial_seconds}s"']
    if settings.ca is not None:
        capable.append(f"ca = {quoted(_CA_NAME)}")
    shim = quoted(settings.shim)
    return HEADER + "\n".join([f"server = {shim}", *capable, "", f"[host.{shim}]", *capable]) + "\n"


def plan(settings: WiringSettings, *, ca: bytes | None = None) -> tuple[PlannedFile, ...]:
    """The hosts.toml files; `ca` is the content of `settings.ca`."""
    files = []
    for registry in settings.registries:
        folder = settings.certificates_folder / hosts_folder(registry)
        content = hosts_file(settings).encode()
        if ca is not None:  # first, so that no hosts.toml names what is not there
            files.append(PlannedFile(path=folder / _CA_NAME, content=ca, owner="containerd"))
        files.append(PlannedFile(path=folder / "hosts.toml", content=content, owner="containerd"))
    return tuple(files)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFile:
    """A file of containerd's configuration: config.toml first, then what it imports, in that order."""

    path: PurePosixPath
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """Whether containerd reads the hosts.toml files.

    Attributes:
        reads: it does already.
        drop_in: a file that makes it do so after a restart, where one can be used.
        problem: why it does not, for a person; empty if it does.
        remedy: what to write where.
    """

    reads: bool = False
    drop_in: PlannedFile | None = None
    problem: str = ""
    remedy: str = ""


def advise(settings: WiringSettings, files: tuple[ConfigFile, ...], version: tuple[int, int] | None) -> Advice:
    """Look at the configuration of a containerd; `version` is (major, minor), `None` where nobody could tell.

    No drop-in for 1.x: there it would replace all of the plug-in's other settings, the GPU's runtime among them.
    """
    try:
        documents = [tomllib.loads(file.text) for file in files]
    except tomllib.TOMLDecodeError as e:
        return Advice(problem=f"containerd's configuration cannot be read: {e}", remedy="mend it first")
    schema = schema_of(documents, version)
    if schema not in _PLUGINS:
        return Advice(
            problem=f"{CONFIG} is of version {schema}", remedy="bring it up to date with `containerd config migrate`"
        )
    registry = _registry_of(documents)
    found = registry.get("config_path") or (_DEFAULTS if (version or (0, 0)) >= (2, 2) and not registry else "")
    folder = str(settings.certificates_folder)
    if _is_read(folder, str(found), version):
        return Advice(reads=True)
    table, key = f'[plugins."{_PLUGINS[schema]}".registry]', f"config_path = {quoted(folder)}"
    wanted = f"set {key} under {table} in {CONFIG} and restart containerd"
    if any(registry.get(key) for key in ("mirrors", "configs")):
        return Advice(
            problem="registry.mirrors or registry.configs is set, which excludes config_path",
            remedy=f"move them into hosts.toml files, remove them, and {wanted}",
        )
    if found and folder not in str(found).split(":"):
        return Advice(problem=f"containerd reads {found}", remedy=f"give that as --config-path, or change {CONFIG}")
    why = f"its config_path is {found}, a list, which pulls take for one name" if found else "config_path is not set"
    place = place_of(documents, version, DROP_IN)
    if place is not None:
        text = f"{HEADER}version = {schema}\n{table}\n{key}\n"
        return Advice(
            drop_in=PlannedFile(path=place, content=text.encode(), owner="containerd"),
            problem="containerd does not read hosts.toml files before it is restarted",
            remedy="systemctl restart containerd",
        )
    return Advice(problem=f"containerd does not read hosts.toml files: {why}", remedy=wanted)


def parse_version(text: str) -> tuple[int, int] | None:
    """(major, minor) of what `containerd --version` prints."""
    found = re.search(r"\bv?(\d+)\.(\d+)[.~+-]", text)
    return (int(found[1]), int(found[2])) if found else None


def _is_read(folder: str, config_path: str, version: tuple[int, int] | None) -> bool:
    """From 2.1 on pulls take a list for the name of one folder, find nothing, and ask the registry itself.

    That goes for the list that is the default from 2.2 on, too (containerd's issues 12415 and 12636).
    """
    if version is not None and version < (2, 1):
        return folder in config_path.split(":")
    return folder == config_path


def schema_of(documents: list[dict[str, Any]], version: tuple[int, int] | None) -> int:
    """The version of the root file: a drop-in of a higher one keeps containerd from migrating the root."""
    if documents:
        given = documents[0].get("version", 1)
        return given if isinstance(given, int) else 0
    return 2 if version is None or version < (2, 0) else 3


def _registry_of(documents: list[dict[str, Any]]) -> dict[str, Any]:
    """The table about registries; later files win, key by key."""
    found: dict[str, Any] = {}
    for document in documents:
        for plugin in set(_PLUGINS.values()):
            table = document.get("plugins", {}).get(plugin, {}).get("registry", {})
            found |= table if isinstance(table, dict) else {}
    return found


def place_of(
    documents: list[dict[str, Any]], version: tuple[int, int] | None, drop_in: PurePosixPath
) -> PurePosixPath | None:
    """Where a file can say it: there is none yet (which imports nothing, either), or a drop-in is read and merged."""
    if not documents:
        return CONFIG
    if version is None or version < (2, 0):
        return None
    absolute = (str(CONFIG.parent / str(pattern)) for pattern in documents[0].get("imports", []))
    return drop_in if any(fnmatch.fnmatchcase(str(drop_in), pattern) for pattern in absolute) else None
