"""Docker: `registry-mirrors` of daemon.json.

That is a cache and no gate: Docker asks mirrors for Docker Hub's images only, and the Hub itself for what they refuse.
"""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import Final

from modelcar.errors import StorageError, UsageError
from registry_shim.engines.files import PlannedFile
from registry_shim.engines.settings import WiringSettings

__all__ = ["DAEMON_JSON", "HUB", "OWNER", "daemon_json", "plan"]

DAEMON_JSON: Final = PurePosixPath("/etc/docker/daemon.json")
HUB: Final = "docker.io"
OWNER: Final = "docker"
_CERTIFICATES: Final = PurePosixPath("/etc/docker/certs.d")


def daemon_json(settings: WiringSettings, existing: bytes | None) -> bytes:
    """`existing` with the shim as its first mirror; everything else as it was.

    Raises:
        StorageError: `existing` is not a JSON object.
    """
    try:
        document = json.loads(existing or b"{}")
    except (ValueError, RecursionError) as e:
        raise StorageError(f"{DAEMON_JSON} is not JSON: {e}", hint="mend it first") from None
    mirrors = document.get("registry-mirrors", []) if isinstance(document, dict) else None
    if not isinstance(mirrors, list):
        raise StorageError(
            f"{DAEMON_JSON}: it, or its registry-mirrors, is not what Docker reads", hint="mend it first"
        )
    document["registry-mirrors"] = [settings.shim, *(mirror for mirror in mirrors if mirror != settings.shim)]
    return json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"


def plan(settings: WiringSettings, existing: bytes | None, *, ca: bytes | None = None) -> tuple[PlannedFile, ...]:
    """daemon.json, made from what was there before us.

    Raises:
        UsageError: Docker Hub is not among the registries.
        StorageError: see `daemon_json`.
    """
    if HUB not in settings.registries:
        raise UsageError("Docker can only mirror docker.io, which is not listed", hint="--registry docker.io")
    files = [PlannedFile(path=DAEMON_JSON, content=daemon_json(settings, existing), owner=OWNER)]
    if ca is not None:
        path = _CERTIFICATES / settings.url.netloc / "ca.crt"
        files.insert(0, PlannedFile(path=path, content=ca, owner=OWNER))
    return tuple(files)
