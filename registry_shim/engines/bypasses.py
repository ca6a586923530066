"""Ways around the shim that can be read in configuration files. Pure."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["in_hosts_toml", "in_registries_conf"]


def in_hosts_toml(text: str | None, shim: str) -> Iterator[str]:
    """Why containerd would ask somebody else than `shim`, given this hosts.toml; nothing if it would not."""
    if text is None:
        yield "there is no hosts.toml, so containerd asks the registry itself"
        return
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        yield f"hosts.toml cannot be parsed ({e}), so containerd asks the registry itself"
        return
    hosts = document.get("host")
    if not isinstance(hosts, dict) or not hosts:
        yield "hosts.toml has no host table, so containerd 1.x asks the registry itself"
        hosts = {}
    server = document.get("server")
    if server is None:
        yield "hosts.toml names no server, so containerd asks the registry itself for what the shim refuses"
    others = {str(name) for name in (server, *hosts) if name is not None} - {shim}
    for other in sorted(others):
        yield f"hosts.toml lets containerd ask {other} as well"


def in_registries_conf(files: Mapping[str, str], registries: Mapping[str, str], *, ours: str) -> Iterator[str]:
    """Why CRI-O or podman would ask somebody else.

    Args:
        files: content by path, in the order in which the engines read them.
        registries: registry to the location that was written for it.
        ours: the path of the drop-in that was written; longer prefixes there are meant.
    """
    tables: dict[str, tuple[str, dict[str, Any]]] = {}
    for path, text in files.items():
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as e:
            yield f"{path} cannot be parsed: {e}"
            continue
        for table in document.get("registry", []):
            tables[str(table.get("prefix") or table.get("location", ""))] = (path, table)
    for registry, location in registries.items():
        path, table = tables.get(registry, ("", {}))
        if not path:
            yield f"no [[registry]] is for {registry}, so it is asked directly"
        elif table.get("location") != location:
            yield f"{path} sends {registry} to {table.get('location') or registry}"
        for mirror in table.get("mirror", []):
            yield f"{path} has {mirror.get('location')} asked before the shim for {registry}"
        for prefix, (where, narrower) in tables.items():
            if prefix.startswith((f"{registry}/", f"{registry}:")) and where != ours:
                yield f"{where} sends {prefix} to {narrower.get('location') or prefix}"
