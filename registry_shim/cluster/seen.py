"""What the shim on this node says of itself, in one look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from modelcar.cluster.using import same_image
from modelcar.errors import InvalidReference, ModelcarError
from modelcar.oci import Reference

__all__ = ["Shim", "ShownImage", "Sight", "full_name", "look"]

_NOT_THERE: Final = "the registry-shim of this node does not answer"


class Shim(Protocol):
    """`AdminClient`, or something like it."""

    def get(self, path: str, **query: str) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownImage:
    """An image on this node, or on its way. Bytes, and bytes a second.

    Attributes:
        names: `registry/repository:tag`, or `…@digest`.
        used: seconds since the epoch.
        refused: why the gate does not let it be served.
    """

    digest: str
    names: tuple[str, ...]
    done: int
    total: int
    rate: int = 0
    used: float = 0.0
    whole: bool = False
    pinned: bool = False
    refused: str | None = None

    def is_called(self, reference: str) -> bool:
        return any(same_image(reference, name, self.digest) for name in self.names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """All of it. With a `problem` nothing else is known.

    Attributes:
        wanted: by full name, what is to be pre-cached, as the shim's API has it.
        capacity, used: bytes that the cache may come to, and those that it takes.
    """

    problem: str | None = None
    wanted: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    images: tuple[ShownImage, ...] = ()
    capacity: int = 0
    used: int = 0


def look(shim: Shim) -> Sight:
    """Never raises: a shim that does not answer, or strangely, is a `problem`."""
    try:
        status = shim.get("status")
        space = status["space"]
        rates = _rates(status["blobs"])
        return Sight(
            wanted={entry["reference"]: entry for entry in status["precache"]["images"]},
            images=tuple(_image(entry, rates) for entry in status["images"]),
            capacity=int(space["budget"] or space["taken"] + space["disk"]["free"]),
            used=int(space["taken"]),
        )
    except ModelcarError as e:
        return Sight(problem=f"{_NOT_THERE}: {e}"[:500])
    except (KeyError, TypeError, ValueError, AttributeError):
        return Sight(problem="the registry-shim of this node is of a version that this cannot read")


def full_name(image: str) -> str | None:
    """As the shim names it; `None` for what is no image."""
    try:
        return str(Reference.parse(image))
    except InvalidReference:
        return None


def _rates(blobs: Any) -> dict[str, int]:
    """Bytes a second by the repository that they are for."""
    rates: dict[str, int] = {}
    for blob in blobs:
        for origin in blob["origins"]:
            rates[origin] = rates.get(origin, 0) + int(blob["rate"])
    return rates


def _image(entry: Mapping[str, Any], rates: Mapping[str, int]) -> ShownImage:
    names = tuple(str(name) for name in entry["names"])
    verdict = entry.get("verdict") or {}
    refused = None
    if verdict.get("state") == "refused" and verdict.get("served") is False:
        refused = "; ".join(str(reason) for reason in verdict.get("reasons") or ["the gate says no"])[:400]
    total = int(entry.get("total") or 0)
    return ShownImage(
        digest=str(entry["digest"]),
        names=names,
        done=min(int(entry["size"]), total) if total else int(entry["size"]),
        total=total,
        rate=max((rates.get(_repository(name), 0) for name in names), default=0),
        used=float(entry["used"]),
        whole=bool(entry["whole"]),
        pinned=bool(entry["pinned"]),
        refused=refused,
    )


def _repository(name: str) -> str:
    try:
        reference = Reference.parse(name)
    except InvalidReference:
        return name
    return f"{reference.registry}/{reference.repository}"
