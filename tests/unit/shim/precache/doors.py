"""A node without a network: images that are made of bytes, whose blobs arrive when a test says so."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from modelcar.cache.origin import Origin
from modelcar.errors import ModelcarError, NotFound, RemoteNotFound
from modelcar.layers.bytemap import FileSlice
from modelcar.lazy.grid import Grid
from modelcar.oci import Descriptor, Digest, Platform, Reference
from modelcar.oci.media_types import CONFIG, INDEX, MANIFEST
from registry_shim.precache.doors import Doors, Presence

LAYER = "application/vnd.oci.image.layer.v1.tar"


def document(media_type: str, content: object) -> tuple[Descriptor, bytes]:
    raw = json.dumps(content).encode()
    return Descriptor(media_type=media_type, digest=Digest.of(raw), size=len(raw)), raw


@dataclass
class FakeLease:
    grid: Grid
    arrived: Future[None]
    closed: bool = False

    def available(self, offset: int) -> int:
        raise NotImplementedError

    def need(self, offset: int, length: int) -> None:
        raise AssertionError("nobody waits for what is pre-cached")

    def when(self, offset: int, length: int) -> Future[None]:
        return self.arrived

    def slice(self, offset: int, length: int) -> FileSlice:
        raise NotImplementedError

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


@dataclass
class FakeImages:
    """`held` blobs wait for `let`; the others are there at once. `failures` are raised by the next calls."""

    documents: dict[str, tuple[Descriptor, bytes]] = field(default_factory=dict)
    held: dict[Digest, Future[None]] = field(default_factory=dict)
    sizes: dict[Digest, int] = field(default_factory=dict)
    here: dict[Digest, int] = field(default_factory=dict)
    """Bytes; negative once it is whole."""
    leases: list[FakeLease] = field(default_factory=list)
    order: list[str] = field(default_factory=list)
    attached: list[Digest] = field(default_factory=list)
    failures: list[ModelcarError] = field(default_factory=list)
    unattached: bool = False

    def add(self, name: str, *layers: bytes, platform: str | None = None) -> Descriptor:
        """An image under `registry/repository:tag`, or for one platform of an index if that is given."""
        config = Descriptor.of(CONFIG, b"{}")
        descriptor, raw = document(
            MANIFEST,
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": config.to_dict(),
                "layers": [Descriptor.of(LAYER, layer).to_dict() for layer in layers],
            },
        )
        self._keep(name, descriptor, raw)
        return descriptor

    def add_index(self, name: str, manifests: Mapping[str, Descriptor]) -> Descriptor:
        entries = [m.to_dict() | {"platform": Platform.parse(p).to_dict()} for p, m in manifests.items()]
        descriptor, raw = document(INDEX, {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
        self._keep(name, descriptor, raw)
        return descriptor

    def hold(self, content: bytes) -> Digest:
        self.held[Digest.of(content)] = Future()
        self.sizes[Digest.of(content)] = len(content)
        return Digest.of(content)

    def let(self, digest: Digest) -> None:
        self.here[digest] = -self.sizes[digest]
        self.held[digest].set_result(None)

    def _keep(self, name: str, descriptor: Descriptor, raw: bytes) -> None:
        self.documents[name] = self.documents[str(descriptor.digest)] = descriptor, raw

    # What `Images` has

    def origin(self, reference: Reference) -> Origin:
        return Origin(registry=reference.registry, repository=reference.repository)

    def manifest(self, origin: Origin, target: str | Digest) -> tuple[Descriptor, bytes]:
        if self.failures:
            raise self.failures.pop(0)
        key = str(target) if isinstance(target, Digest) else f"{origin.name}:{target}"
        self.order.append(key)
        if key not in self.documents:
            raise RemoteNotFound(f"{key} is not there", status=404)
        descriptor, content = self.documents[key]
        self.here[descriptor.digest] = -descriptor.size
        return descriptor, content

    def attachments(self, origin: Origin, digest: Digest) -> None:
        if self.unattached:
            raise RemoteNotFound("no signatures", status=404)
        self.attached.append(digest)

    def lease(self, origin: Origin, blob: Descriptor) -> FakeLease:
        future = self.held.get(blob.digest)
        if future is None:
            future = Future()
            future.set_result(None)
            self.here[blob.digest] = -blob.size
        lease = FakeLease(Grid.plain(blob.digest, blob.size), future)
        self.leases.append(lease)
        return lease

    def presence(self, digest: Digest) -> Presence:
        size = self.here.get(digest, 0)
        return Presence(size=abs(size), chunks=1, chunks_in_all=1, whole=size < 0)


@dataclass
class FakeRoom:
    pins: set[str] = field(default_factory=set)
    reserved_now: list[Mapping[Digest, int]] = field(default_factory=list)
    refusal: ModelcarError | None = None

    @contextmanager
    def reserved(self, sizes: Mapping[Digest, int]) -> Iterator[None]:
        if self.refusal is not None:
            raise self.refusal
        self.reserved_now.append(sizes)
        try:
            yield
        finally:
            self.reserved_now.remove(sizes)

    def pin(self, reference: Reference) -> object:
        self.pins.add(str(reference))
        return None

    def unpin(self, reference: Reference) -> None:
        if str(reference) not in self.pins:
            raise NotFound(f"{reference} is not pinned")
        self.pins.remove(str(reference))


@dataclass
class FakeGuard:
    """Says yes, or in turn what `answers` hold: a refusal, or a future of the test's own."""

    answers: list[ModelcarError | Future[None]] = field(default_factory=list)
    foreseen: ModelcarError | None = None

    def foresee(self, origin: Origin, descriptor: Descriptor) -> Future[None]:
        future: Future[None] = Future()
        if self.foreseen is None:
            future.set_result(None)
        else:
            future.set_exception(self.foreseen)
        return future

    def ready(self, origin: Origin, descriptor: Descriptor) -> Future[None]:
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Future):
            return answer
        future: Future[None] = Future()
        if answer is None:
            future.set_result(None)
        else:
            future.set_exception(answer)
        return future


@dataclass
class FakeNode:
    images: FakeImages = field(default_factory=FakeImages)
    room: FakeRoom = field(default_factory=FakeRoom)
    guard: FakeGuard = field(default_factory=FakeGuard)
    imported: list[tuple[str, int]] = field(default_factory=list)
    rates: list[float | None] = field(default_factory=list)

    @property
    def doors(self) -> Doors:
        return Doors(
            images=self.images,
            room=self.room,
            guard=self.guard,
            importer=lambda reference, parts: self.imported.append((str(reference), len(parts))),
            throttle=self.rates.append,
        )
