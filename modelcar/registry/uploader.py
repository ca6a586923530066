"""The uploads of one client: what they share, and those of blobs that are still being hashed."""

from __future__ import annotations

import secrets
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from modelcar.errors import UsageError
from modelcar.layers.bytemap import ByteMap
from modelcar.oci import Descriptor, Digest, Reference
from modelcar.progress import Progress
from modelcar.registry.cancel import Cancelled, JobGroup, current_scope
from modelcar.registry.dialects import UNKNOWN, AfterCut, Dialect, Way, dialect_named, dialect_of
from modelcar.registry.habits import Habits
from modelcar.registry.journal import Journal
from modelcar.registry.preflight import Preflight, preflight
from modelcar.registry.recognition import ask_front_door
from modelcar.registry.session import Session
from modelcar.registry.tally import Tally
from modelcar.registry.upload import Blob, BlobSource, Tail, Upload, UploadContext, fingerprint, map_source
from modelcar.registry.upload.trial import Trial, try_session
from modelcar.registry.upload.wire import Wire

__all__ = ["Uploader", "Uploading"]

_WORTH_STREAMING: Final = 4 << 20  # bytes; smaller blobs are hashed in no time
_MOST_TRIALS: Final = 3  # of one registry, where they tell nothing
_POLL: Final = 0.2  # seconds

Ready = Callable[[float], bool]
"""Waits that many seconds at most and tells whether bytes may leave; raises where they may not."""


class Uploader:
    """Safe to use from several threads."""

    def __init__(self, session: Session, progress: Progress) -> None:
        settings = session.settings
        self._session, self._progress = session, progress
        self._dialect = dialect_named(settings.dialect) if settings.dialect is not None else None
        self._habits = Habits(settings.state)
        self._journal = Journal(settings.state / "uploads" if settings.state is not None else None)
        self._uploaded: set[tuple[str, Digest]] = set()  # repository and blob
        self._trying = threading.Lock()
        self._trials: Counter[str] = Counter()  # by registry
        self.tally = Tally()

    def dialect(self, registry: str) -> Dialect:
        """What is known of it, without asking it: by its name, or since it was met."""
        by_name = self._dialect or dialect_of(registry)
        if by_name is not UNKNOWN:
            return by_name
        try:
            return dialect_named(self._habits.of(registry).family or "")
        except UsageError:
            return UNKNOWN

    def meet(self, ref: Reference) -> None:
        """Ask a registry whose name says nothing who it is; once a month. Never raises for what it answers."""
        if self._dialect is not None or self._session.settings.address is not None:
            return
        if dialect_of(ref.registry) is not UNKNOWN:
            return
        with self._trying:
            if self._habits.of(ref.registry).family is None:
                found = ask_front_door(self._session, self._session.remote(ref))
                if found is not None:
                    self._habits.learn(ref.registry, family="" if found is UNKNOWN else found.family)

    def has_sent(self, ref: Reference, digest: Digest) -> bool:
        """Whether this client has seen to it already that the repository has the blob."""
        return (ref.name, digest) in self._uploaded

    def note_there(self, ref: Reference, digest: Digest) -> None:
        """The repository has the blob."""
        self._uploaded.add((ref.name, digest))

    def preflight(
        self, ref: Reference, layers: Mapping[str, int], manifests: Mapping[str, int] | None = None
    ) -> Preflight:
        """What is known of pushing these layers and manifests (label to bytes) there."""
        rate = self._habits.of(ref.registry).rate
        return preflight(ref.registry, self.dialect(ref.registry), layers, rate, manifests or {})

    def streams(self, ref: Reference) -> bool:
        """Whether the registry takes bytes before their digest is known, by the table or by what it did with one."""
        self.meet(ref)
        dialect = self.dialect(ref.registry)
        if dialect is not UNKNOWN or not dialect.streams:
            return dialect.streams and self._habits.of(ref.registry).streams is not False
        return bool(self._tried(ref).streams)

    def after_cut(self, ref: Reference) -> AfterCut | None:
        """What becomes of a request that breaks off: as it was seen or tried, or by the table."""
        dialect = self.dialect(ref.registry)
        known = self._habits.of(ref.registry).after_cut or dialect.after_cut
        if known is not None or self._session.settings.address is not None or not dialect.takes(Way.PIECES):
            return known
        return self._tried(ref).after_cut

    def _tried(self, ref: Reference) -> Trial:
        """What a registry takes and keeps: once a month it is tried."""
        with self._trying:
            known = self._known_trial(ref.registry)
            if (known.streams is not None and known.after_cut is not None) or self._is_tried(ref.registry):
                return known
            wire = Wire(self._session, self._session.remote(ref, "pull,push"), f"trying what {ref.registry} takes")
            found = try_session(wire, self._session.pause)
            if found.streams is not None and known.streams is None:
                self._habits.learn(ref.registry, streams=found.streams)
            if found.after_cut is not None and known.after_cut is None:
                self._habits.learn(ref.registry, after_cut=found.after_cut)
            return self._known_trial(ref.registry)

    def _known_trial(self, registry: str) -> Trial:
        """What was tried or seen in the last month."""
        habit = self._habits.of(registry)
        return Trial(streams=habit.streams, after_cut=habit.after_cut)

    def _is_tried(self, registry: str) -> bool:
        """Whether it has been tried in vain often enough."""
        self._trials[registry] += 1
        return self._trials[registry] > _MOST_TRIALS

    def upload(
        self,
        ref: Reference,
        blob: Descriptor,
        source: BlobSource,
        *,
        content: str | None = None,
        mount_from: Sequence[str] = (),
    ) -> None:
        """Make sure that the repository has the blob. `content` stood for it before it was hashed."""
        key = str(blob.digest)
        self._progress.start(key, _label(blob), blob.size)
        note = self._run(ref, Blob.of(blob, source, content), key, mount_from)
        self._progress.finish(key, note)
        self._uploaded.add((ref.name, blob.digest))

    def stream(
        self, ref: Reference, label: str, content: ByteMap, tail: Tail, ready: Ready, source: BlobSource
    ) -> None:
        """Upload a blob behind its hashing; nothing leaves before it is `ready`."""
        key = f"upload {label} {secrets.token_hex(4)}"
        journalled = fingerprint(content) or key
        try:
            while not ready(_POLL):
                if (scope := current_scope()) is not None:
                    scope.check()
            self._progress.start(key, f"{label}, upload", content.size)
            tail.follow()
            blob = Blob(label=label, size=content.size, source=source, content=journalled, tail=tail)
            note = self._run(ref, blob, key, ())
            self._uploaded.add((ref.name, tail.digest()))
            self._progress.finish(key, note)
        except Cancelled:
            if not tail.abandoned:
                raise
        except BaseException as e:
            tail.fail(e)
            raise
        finally:
            tail.end()

    def _run(self, ref: Reference, blob: Blob, key: str, mount_from: Sequence[str]) -> str:
        self.meet(ref)
        context = UploadContext(
            session=self._session,
            dialect=self.dialect(ref.registry),
            habits=self._habits,
            journal=self._journal,
            tally=self.tally,
            after_cut=partial(self.after_cut, ref),
        )
        remote = self._session.remote(ref, "pull,push")
        note = Upload(context, remote, blob, partial(self._progress.advance, key)).run(mount_from)
        if note:
            self.tally.reused(blob.size)
        return note


class Uploading:
    """Uploads of blobs to one repository while others are still being made. Takes them from any thread."""

    def __init__(
        self,
        uploader: Uploader,
        ref: Reference,
        group: JobGroup,
        progress: Progress,
        earlier: Callable[[], frozenset[int]],
        mount_from: Sequence[str] = (),
    ) -> None:
        self._uploader, self._ref, self._group, self._progress = uploader, ref, group, progress
        self._earlier, self._mount_from = earlier, tuple(mount_from)
        self._lock = threading.Lock()
        self._sizes: frozenset[int] | None = None

    def __call__(self, blob: Descriptor, source: ByteMap) -> None:
        """Upload a blob. Raises where an upload before has failed."""
        self._progress.expect(blob.size)
        upload = partial(self._uploader.upload, content=fingerprint(source), mount_from=self._mount_from)
        self._group.submit(partial(upload, self._ref, blob, map_source(source)))

    def begin(
        self, label: str, content: ByteMap, ready: Ready = lambda _: True, source: BlobSource | None = None
    ) -> Tail | None:
        """Upload what is about to be hashed; `None` where it is better to wait for the digest: the blob is small, the
        registry takes none without it, it probably has the blob (one of exactly this size is there), or the files are
        not in the state that they will be in and have no other name that stands for them.

        `source` reads the bytes of `content` where its files may move meanwhile.

        Raises where an upload before has failed.
        """
        if content.size < _WORTH_STREAMING or not self._uploader.streams(self._ref) or fingerprint(content) is None:
            return None
        if content.size in self._known():
            return None
        tail = Tail(given_up=lambda: self._group.failure)
        self._progress.expect(content.size)
        bytes_of = source or map_source(content)
        self._group.submit(partial(self._uploader.stream, self._ref, label, content, tail, ready, bytes_of))
        return tail

    def preflight(self, layers: Mapping[str, int]) -> Preflight:
        """What is known of pushing these layers (label to bytes)."""
        return self._uploader.preflight(self._ref, layers)

    def _known(self) -> frozenset[int]:
        """Sizes of what an earlier push has left in the repository."""
        with self._lock:
            if self._sizes is None:
                self._sizes = self._earlier()
            return self._sizes


def _label(blob: Descriptor) -> str:
    return blob.annotations.get("org.opencontainers.image.title") or f"{blob.digest.algorithm}:{blob.digest.short}"
