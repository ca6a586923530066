"""containerd's side of `registry-shim snapshotter`: a proxy plugin, and that images and pods use it. Pure."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, Final

from registry_shim.engines.containerd import CONFIG, ConfigFile, place_of, schema_of
from registry_shim.engines.files import HEADER, PlannedFile, quoted

__all__ = ["DROP_IN", "NAME", "Plugged", "plug_in"]

NAME: Final = "modelcar"
DROP_IN: Final = PurePosixPath("/etc/containerd/conf.d/99-modelcar-snapshotter.toml")
_USERS: Final = {
    2: 'plugins."io.containerd.grpc.v1.cri".containerd',
    3: 'plugins."io.containerd.cri.v1.images"',
    4: 'plugins."io.containerd.cri.v1.images"',
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugged:
    """`drop_in` is a file that plugs the snapshotter in after a restart, where one can be used; `note` what a person
    should do, if anything."""

    drop_in: PlannedFile | None = None
    note: str = ""


def plug_in(
    socket: PurePosixPath,
    files: tuple[ConfigFile, ...],
    version: tuple[int, int] | None,
    ours: PlannedFile | None = None,
) -> Plugged:
    """Look at the configuration of a containerd; `ours` is what is going to be written to it besides.

    No drop-in for 1.x, as with registries: it would replace all of the plug-in's other settings.
    """
    try:
        documents = [tomllib.loads(file.text) for file in files]
    except tomllib.TOMLDecodeError:
        return Plugged(note="containerd's configuration cannot be read: mend it, and plug in the snapshotter")
    schema = schema_of(documents, version)
    if schema not in _USERS:
        return Plugged(note=f"bring {CONFIG} up to date with `containerd config migrate`, then plug in the snapshotter")
    if _is_plugged_in(socket, documents, schema):
        return Plugged()
    tables = _tables(socket, schema)
    place = place_of(documents, version, DROP_IN)
    if place is None:
        wanted = "; ".join(line for line in tables.splitlines() if line)
        return Plugged(note=f"to plug in the snapshotter, add to {CONFIG} and restart containerd: {wanted}")
    note = "containerd uses the snapshotter after a restart: systemctl restart containerd"
    if ours is not None and ours.path == place:
        return Plugged(drop_in=replace(ours, content=ours.content + tables.encode()), note=note)
    content = f"{HEADER}version = {schema}\n{tables}".encode()
    return Plugged(drop_in=PlannedFile(path=place, content=content, owner="containerd"), note=note)


def _tables(socket: PurePosixPath, schema: int) -> str:
    return (
        f"\n[proxy_plugins.{NAME}]\n"
        f'type = "snapshot"\naddress = {quoted(str(socket))}\n'
        f"\n[{_USERS[schema]}]\n"
        f"snapshotter = {quoted(NAME)}\ndisable_snapshot_annotations = false\n"
    )


def _is_plugged_in(socket: PurePosixPath, documents: list[dict[str, Any]], schema: int) -> bool:
    wanted = tomllib.loads(_tables(socket, schema))
    found: dict[str, Any] = {}
    for document in documents:
        _merge(found, document)
    return _has(found, wanted)


def _merge(into: dict[str, Any], document: dict[str, Any]) -> None:
    """As containerd does with its imports: later files win, key by key."""
    for key, value in document.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _has(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(_has(found.get(key), value) for key, value in wanted.items())
    return bool(found == wanted)
