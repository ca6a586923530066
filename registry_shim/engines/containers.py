"""CRI-O, podman, buildah and skopeo: a drop-in for registries.conf.

A `[[registry.mirror]]` is tried first and the registry itself next, whatever the mirror said; so the registry's own
location is the shim, which sees from the path which registry is meant.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Final

from registry_shim.engines.files import HEADER, PlannedFile, quoted
from registry_shim.engines.settings import WiringSettings

__all__ = ["DROP_IN", "location", "plan", "registries_conf"]

DROP_IN: Final = PurePosixPath("/etc/containers/registries.conf.d/99-modelcar-shim.conf")
_CERTIFICATES: Final = PurePosixPath("/etc/containers/certs.d")


def location(settings: WiringSettings, registry: str) -> str:
    """Where images of `registry` are pulled from instead: `127.0.0.1:5000/ghcr.io`. No path may have a colon."""
    return f"{_authority(settings)}/{registry.replace(':', '-')}"


def registries_conf(settings: WiringSettings) -> str:
    """Version 2 of the format. Aliases of short names lie elsewhere and stay as they are."""
    plain = settings.url.scheme == "http"  # which the settings allow for this node's own address only
    tables = [_table(registry, location(settings, registry), insecure=plain) for registry in settings.registries]
    excluded = (name for name in settings.excluded if name.partition("/")[0] in settings.registries)
    tables += [_table(name, name) for name in excluded]  # the longer prefix wins
    return HEADER + "\n" + "\n".join(tables)


def plan(settings: WiringSettings, *, ca: bytes | None = None) -> tuple[PlannedFile, ...]:
    """The drop-in, and the authority's certificate where these engines look for it."""
    files = [PlannedFile(path=DROP_IN, content=registries_conf(settings).encode(), owner="containers")]
    if ca is not None:
        path = _CERTIFICATES / _authority(settings) / "ca.crt"
        files.insert(0, PlannedFile(path=path, content=ca, owner="containers"))
    return tuple(files)


def _table(prefix: str, where: str, *, insecure: bool = False) -> str:
    lines = ["[[registry]]", f"prefix = {quoted(prefix)}", f"location = {quoted(where)}"]
    return "\n".join([*lines, "insecure = true"] if insecure else lines) + "\n"


def _authority(settings: WiringSettings) -> str:
    """A host without a port is no registry to these engines unless it has a dot."""
    url = settings.url
    return url.netloc if url.port else f"{url.netloc}:{443 if url.scheme == 'https' else 80}"
