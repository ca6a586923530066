"""What the status page shows, from what each part says of itself."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from modelcar import __version__
from modelcar.cache.status import BlobState, BlobStatus
from modelcar.errors import ModelcarError
from registry_shim.operations.sights import Sights
from registry_shim.space.status import SpaceStatus

__all__ = ["snapshot"]

_CELLS: Final = 4096  # of a map of chunks
_BLOBS: Final = 100
_IMAGES: Final = 300
_PURPOSES: Final = ("pull", "peer", "scan", "pre-cache")


def snapshot(sights: Sights, *, totals: Mapping[str, float], problem: str | None, started: float) -> dict[str, Any]:
    """A JSON document. `problem` is why the node is not ready, `started` seconds since the epoch. Waits for the disk;
    a part that cannot be looked at is left out, and `problems` says why."""
    problems: list[str] = [problem] if problem else []

    def look(part: Callable[[], Any], default: Any) -> Any:
        try:
            return part()
        except (ModelcarError, OSError) as e:
            problems.append(str(e))
            return default

    space: SpaceStatus | None = look(sights.space, None)
    gate: Mapping[str, Any] = look(sights.gate, {})
    precache: Mapping[str, Any] = look(sights.precache, {})
    blobs = look(sights.blobs, ())
    peers = look(sights.peers, {})
    mounts = look(sights.mounts, ())
    pushed = look(sights.pushed, None)
    return {
        "version": __version__,
        "now": time.time(),
        "started": started,
        "ready": problem is None,
        "problems": problems,
        "connections": sights.connections(),
        "requests": sights.requests(),
        "totals": dict(totals),
        "space": space.to_dict() if space is not None else None,
        "mirrors": sights.mirrors,
        "pushed": [image.to_dict() for image in pushed[:_IMAGES]] if pushed is not None else None,
        "models": _models(space, gate, precache),
        "blobs": [_blob(blob) for blob in sorted(blobs, key=_importance)[:_BLOBS]],
        "gate": {key: value for key, value in gate.items() if key != "images"},
        "peers": [
            {"name": member.name, "zone": member.zone, "state": str(state)} for member, state in sorted(peers.items())
        ],
        "precache": list(precache.get("images", ()))[:_IMAGES],
        "mounts": [mount.to_dict() for mount in mounts[:_IMAGES]],
    }


def _importance(blob: BlobStatus) -> tuple[bool, int, str]:
    return blob.state is not BlobState.ARRIVING, blob.purpose, str(blob.digest)


def _blob(blob: BlobStatus) -> dict[str, Any]:
    return {
        "digest": str(blob.digest),
        "size": blob.size,
        "present": blob.present,
        "state": str(blob.state),
        "rate": round(blob.rate),
        "streams": blob.streams,
        "waiting": blob.waiting,
        "readers": blob.leases,
        "purpose": _PURPOSES[blob.purpose] if blob.purpose < len(_PURPOSES) else "",
        "sources": dict(blob.sources),
        "origins": list(blob.origins),
        "error": blob.error,
        "map": _map(blob.chunks),
    }


def _map(chunks: bytes) -> str:
    """A digit a cell, as `BlobStatus.chunks`. A cell that stands for several chunks is missing if one of them is."""
    if len(chunks) <= _CELLS:
        cells = list(chunks)
    else:
        edges = [number * len(chunks) // _CELLS for number in range(_CELLS + 1)]
        parts = [chunks[a:b] for a, b in itertools.pairwise(edges)]
        cells = [max(part) if min(part) else 0 for part in parts]
    return "".join(str(min(cell, 9)) for cell in cells)


def _models(space: SpaceStatus | None, gate: Mapping[str, Any], precache: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Images by digest, whoever knows of them, those with problems first."""
    found: dict[str, dict[str, Any]] = {}
    for image in space.images if space is not None else ():
        entry = image.to_dict()
        found[entry["digest"]] = {**entry, "verdict": None}
    for ruling in gate.get("images", ()):
        empty = {"digest": ruling["digest"], "names": [], "size": 0, "whole": False, "pinned": False, "in_use": False}
        entry = found.setdefault(ruling["digest"], empty)
        entry["verdict"] = dict(ruling)
        if ruling["image"] not in (name.partition("@")[0].rpartition(":")[0] for name in entry["names"]):
            entry["names"] = [*entry["names"], ruling["image"]]
    for wanted in precache.get("images", ()):
        digest = wanted.get("digest")
        if digest in found:
            found[digest]["precache"] = wanted["phase"]
    models = [{**entry, "readiness": _readiness(entry)} for entry in found.values()]
    return sorted(models, key=lambda m: (m["readiness"] != "refused", m["readiness"] == "ready", str(m["names"])))[
        :_IMAGES
    ]


def _readiness(entry: Mapping[str, Any]) -> str:
    """`ready`: all of it is here and may be served."""
    verdict = entry.get("verdict")
    if verdict is not None and not verdict["served"]:
        return "refused" if verdict["state"] == "refused" else "pending"
    return "ready" if entry["whole"] else "partial"
