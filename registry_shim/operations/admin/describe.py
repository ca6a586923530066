"""A node's state as JSON values."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from modelcar.cache.lease import Purpose
from modelcar.cache.status import BlobStatus
from registry_shim.operations.admin.parts import Parts
from registry_shim.space.evict import Plan
from registry_shim.space.status import ImageStatus, SpaceStatus

__all__ = ["describe_blob", "describe_images", "describe_plan", "describe_status"]


def describe_status(parts: Parts) -> dict[str, Any]:
    """Everything. Reads the disk."""
    space, gate = parts.space.status(), parts.gate()
    return {
        "about": {**asdict(parts.about), "upstreams": list(parts.about.upstreams), "time": round(time.time(), 1)},
        "space": space.to_dict(),
        "images": _images(space, gate),
        "pins": [{"reference": p.name, "digest": str(p.digest) if p.digest else None} for p in parts.space.pinned()],
        "blobs": [describe_blob(blob) for blob in parts.blobs()],
        "precache": parts.precache.status(),
        "gate": dict(gate),
        "peers": [dict(peer) for peer in parts.peers()],
        "revoked": [{"digest": str(d), "reason": reason} for d, reason in parts.revoked.all().items()],
    }


def describe_images(parts: Parts) -> list[dict[str, Any]]:
    """Images with what the gate says of them. Reads the disk."""
    return _images(parts.space.status(), parts.gate())


def describe_blob(blob: BlobStatus) -> dict[str, Any]:
    """A blob in use or on its way; chunks as counts."""
    return {
        "digest": str(blob.digest),
        "grid": blob.grid,
        "state": str(blob.state),
        "size": blob.size,
        "present": blob.present,
        "chunks": len(blob.chunks),
        "chunks_here": len(blob.chunks) - blob.chunks.count(0),
        "rate": round(blob.rate),
        "sources": dict(blob.sources),
        "streams": blob.streams,
        "waiting": blob.waiting,
        "leases": blob.leases,
        "purpose": Purpose(blob.purpose).name.lower(),
        "origins": list(blob.origins),
        "error": blob.error,
    }


def describe_plan(plan: Plan) -> dict[str, Any]:
    """What goes, or went."""
    return {
        "freed": plan.freed,
        "images": [
            {"digest": str(e.image.root), "names": list(e.image.names), "freed": e.size, "used": round(e.used, 1)}
            for e in plan.evictions
            if e.image is not None
        ],
        "loose": [{"digest": str(d), "size": n} for e in plan.evictions if e.image is None for d, n in e.sizes.items()],
    }


def _images(space: SpaceStatus, gate: Mapping[str, Any]) -> list[dict[str, Any]]:
    verdicts = {str(entry.get("digest")): entry for entry in gate.get("images", ())}
    return [{**image.to_dict(), "verdict": _verdict(image, verdicts)} for image in space.images]


def _verdict(image: ImageStatus, verdicts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    found = verdicts.get(str(image.digest))
    return dict(found) if found is not None else None
