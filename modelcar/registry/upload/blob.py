"""What is uploaded, and what all uploads of a client share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from modelcar.oci import Descriptor, Digest
from modelcar.registry.dialects import AfterCut, Dialect
from modelcar.registry.habits import Habits
from modelcar.registry.journal import Journal
from modelcar.registry.session import Session
from modelcar.registry.tally import Tally
from modelcar.registry.upload.source import BlobSource
from modelcar.registry.upload.tail import Tail

__all__ = ["Blob", "UploadContext"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadContext:
    """What uploads to one registry share. `after_cut` finds out what it does with a request that breaks off; `None`:
    that could not be told."""

    session: Session
    dialect: Dialect
    habits: Habits
    journal: Journal
    tally: Tally
    after_cut: Callable[[], AfterCut | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """`size` bytes of `source`, known by `digest`, or by that of `tail` once it is there.

    `content` stands for these bytes in the journal; `label` is for messages.
    """

    label: str
    size: int
    source: BlobSource
    content: str
    digest: Digest | None = None
    tail: Tail | None = None

    @classmethod
    def of(cls, descriptor: Descriptor, source: BlobSource, content: str | None = None) -> Blob:
        """One that is hashed. `content`, if given, is what stood for it before it was."""
        digest = descriptor.digest
        label = f"{digest.algorithm}:{digest.short}"
        return cls(label=label, size=descriptor.size, source=source, content=content or str(digest), digest=digest)

    @property
    def known(self) -> Digest | None:
        """The digest, if it is there by now."""
        return self.digest or (self.tail.known if self.tail is not None else None)

    def named(self) -> Digest:
        """The digest, waited for where it must be."""
        if self.digest is not None:
            return self.digest
        assert self.tail is not None  # noqa: S101  # a blob has one of the two
        return self.tail.digest()
