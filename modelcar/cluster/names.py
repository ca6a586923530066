"""Names that the controller, the nodes and people who read objects share."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from modelcar.admission.names import GROUP
from modelcar.cluster.resources import Object, name_of

__all__ = [
    "FINALIZER",
    "LIMIT",
    "MANAGED_BY",
    "NodePhase",
    "by_name",
    "is_deleted",
    "labels_of",
    "spec_of",
    "status_of",
    "timestamp",
]

FINALIZER: Final = f"{GROUP}/in-use"
"""On ModelCaches: they stay while a pod uses what they keep."""
LIMIT: Final = f"{GROUP}/cache-limit"
"""Annotation of a Node: how many bytes the models of ModelCaches may come to there (`500Gi`)."""
MANAGED_BY: Final = {"app.kubernetes.io/managed-by": "modelcar"}


class NodePhase(StrEnum):
    """How far one image is on one node."""

    PENDING = "Pending"
    DOWNLOADING = "Downloading"
    READY = "Ready"
    FAILED = "Failed"


def spec_of(item: Object) -> dict[str, Any]:
    return _part(item, "spec")


def status_of(item: Object) -> dict[str, Any]:
    return _part(item, "status")


def labels_of(item: Object) -> dict[str, str]:
    return _part(_part(item, "metadata"), "labels")


def is_deleted(item: Object) -> bool:
    """Whether it goes as soon as its finalizers are gone."""
    return bool(_part(item, "metadata").get("deletionTimestamp"))


def timestamp() -> str:
    """This moment, as Kubernetes writes it."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def by_name(items: list[Object]) -> dict[str, Object]:
    return {name_of(item): item for item in items}


def _part(item: Any, name: str) -> dict[str, Any]:
    found = item.get(name)
    return found if isinstance(found, dict) else {}
