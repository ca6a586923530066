"""An image that was asked for, and how far it is."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Self

from modelcar.errors import InvalidDocument, ModelcarError
from modelcar.oci import Digest, Reference
from modelcar.oci.document import Fields
from registry_shim.precache.settings import PrecacheImage

__all__ = ["Entry", "Phase", "Progress"]


class Phase(StrEnum):
    """How far an image is."""

    QUEUED = "queued"
    """It waits for its turn, or for the next window."""
    RESOLVING = "resolving"
    FETCHING = "fetching"
    CHECKING = "checking"
    """All is here, and the gate has not said yet whether it may be served."""
    IMPORTING = "importing"
    READY = "ready"
    """Here, verified, let through by the gate, pinned and imported if that was asked for."""
    EVICTED = "evicted"
    """It was ready, and gave way to others; a pin would have kept it."""
    REFUSED = "refused"
    """The gate says no. It is asked again now and then: policies change."""
    FAILED = "failed"
    """Tried again at `retry_at`."""

    @property
    def is_settled(self) -> bool:
        """Whether nothing happens for now."""
        return self in (Phase.READY, Phase.EVICTED, Phase.REFUSED, Phase.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Bytes and chunks of the image's blobs; `rate` in bytes a second, `eta` in seconds."""

    done: int = 0
    total: int = 0
    chunks: int = 0
    chunks_done: int = 0
    rate: float = 0.0

    @property
    def eta(self) -> float | None:
        """`None` if it does not move."""
        return (self.total - self.done) / self.rate if self.rate > 0 else None


@dataclass(slots=True, kw_only=True)
class Entry:
    """Mutable: the queue's lock guards it."""

    image: PrecacheImage
    sources: set[str]
    """Who wants it: `command`, `api`, `configuration`, or a list's `file:NAME`."""
    order: int
    """Of two with the same priority the one with less comes first."""
    phase: Phase = Phase.QUEUED
    digest: Digest | None = None
    """What its name was resolved to."""
    error: str | None = None
    hint: str | None = None
    failures: int = 0
    retry_at: float = 0.0
    """Seconds since the epoch: not before."""
    since: float = 0.0
    """Seconds since the epoch: when `phase` began."""
    progress: Progress = field(default_factory=Progress)
    running: bool = False

    @property
    def name(self) -> str:
        return self.image.name

    @property
    def reference(self) -> Reference:
        return Reference.parse(self.image.reference)

    def to_dict(self) -> dict[str, Any]:
        """For people and programs: everything."""
        progress = asdict(self.progress) | {"eta": self.progress.eta}
        shown = {name: value for name, value in self.to_record().items() if name not in ("size", "chunks")}
        return shown | {"running": self.running, "progress": progress}

    def to_record(self) -> dict[str, Any]:
        """What survives a restart."""
        return {
            "reference": self.name,
            "priority": self.image.priority,
            "pin": self.image.pin,
            "load": self.image.load,
            "platform": self.image.platform,
            "refresh": self.image.refresh,
            "most": self.image.most,
            "sources": sorted(self.sources),
            "phase": str(self.phase),
            "digest": str(self.digest) if self.digest else None,
            "error": self.error,
            "hint": self.hint,
            "failures": self.failures,
            "retry_at": self.retry_at,
            "since": self.since,
            "size": self.progress.total if self.phase is Phase.READY else 0,
            "chunks": self.progress.chunks if self.phase is Phase.READY else 0,
        }

    @classmethod
    def from_record(cls, fields: Fields, order: int) -> Self:
        """What was under way is queued again. Raises `InvalidDocument`."""
        try:
            digest, phase = fields.optional_text("digest"), Phase(fields.text("phase"))
            return cls(
                image=image_from(fields),
                sources=set(fields.texts("sources")),
                order=order,
                phase=phase if phase.is_settled else Phase.QUEUED,
                digest=Digest.parse(digest) if digest else None,
                error=fields.optional_text("error"),
                hint=fields.optional_text("hint"),
                failures=fields.size("failures"),
                retry_at=fields.number("retry_at"),
                since=fields.number("since"),
                progress=_all_of(*(fields.size(name) if fields.has(name) else 0 for name in ("size", "chunks"))),
            )
        except (ModelcarError, ValueError) as e:
            raise InvalidDocument(f"{fields.path}: {e}") from None


def _all_of(size: int, chunks: int) -> Progress:
    return Progress(done=size, total=size, chunks=chunks, chunks_done=chunks)


def image_from(fields: Fields) -> PrecacheImage:
    """What the API is sent. Raises `UsageError`, `InvalidDocument`."""
    return PrecacheImage(
        reference=str(Reference.parse(fields.text("reference"))),
        priority=fields.integer("priority") if fields.has("priority") else 0,
        pin=fields.flag("pin"),
        load=fields.flag("load"),
        platform=fields.optional_text("platform"),
        refresh=fields.number("refresh") if fields.has("refresh") else 0.0,
        most=fields.size("most") if fields.has("most") else 0,
    )
