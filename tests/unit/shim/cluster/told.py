"""What an agent is told, and what it tells."""

from __future__ import annotations

from typing import Any

from modelcar.cluster.resources import Object
from tests.support.cluster_objects import GB, IMAGE

__all__ = ["DIGEST", "SIDECAR", "Told", "entry", "image", "pod"]

DIGEST = "sha256:" + "ab" * 32


def entry(phase: str = "ready", *, done: int = 0, total: int = 10 * GB, rate: float = 0.0, **more: Any) -> Object:
    progress = {"done": done, "total": total, "rate": rate}
    return {
        "reference": IMAGE,
        "phase": phase,
        "digest": DIGEST,
        "error": None,
        "hint": None,
        "progress": progress,
    } | more


def image(digest: str = DIGEST, name: str = IMAGE, **more: Any) -> Object:
    shown = {"digest": digest, "names": [name], "size": 10 * GB, "total": 10 * GB, "used": 1.0, "whole": True}
    return shown | {"pinned": False, "verdict": None} | more


class Told:
    """A shim that says what it is told to."""

    def __init__(self, *entries: Object, images: tuple[Object, ...] = (), blobs: tuple[Object, ...] = ()) -> None:
        self.status: dict[str, Any] = {
            "space": {"budget": 0, "taken": 40 * GB, "disk": {"free": 60 * GB, "total": 200 * GB}},
            "precache": {"images": list(entries)},
            "images": list(images),
            "blobs": list(blobs),
        }

    def get(self, path: str, **_: str) -> dict[str, Any]:
        assert path == "status"
        return self.status


def pod(*containers: Object, phase: str = "Pending", volumes: tuple[Object, ...] = (), **status: Any) -> Object:
    return {
        "metadata": {"name": "server-0", "namespace": "team", "uid": "uid-1"},
        "spec": {"nodeName": "a", "initContainers": list(containers), "volumes": list(volumes)},
        "status": {"phase": phase, **status},
    }


SIDECAR = {"name": "modelcar-model", "image": IMAGE}
