"""A gate in front of images in a store: blobs arrive when a test lets them, and whoever is cut off is written down."""

from __future__ import annotations

import os
import pickle
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from modelcar.cache.lease import Purpose
from modelcar.cache.origin import Origin
from modelcar.errors import ModelcarError, Unreachable
from modelcar.layers.bytemap import FileSlice
from modelcar.lazy.grid import Grid
from modelcar.oci import Descriptor, Digest, Index, Manifest
from modelcar.signing.attach import attach_bundle
from modelcar.signing.attestations.attest import attach_statement
from modelcar.signing.keys.key import PrivateKey
from modelcar.signing.places import LayoutPlace
from modelcar.signing.policy import SCAN_VERDICT
from modelcar.signing.sign import sign_image
from modelcar.signing.signatory import KeySignatory
from modelcar.signing.statement import COSIGN_SIGN, Statement
from modelcar.store import LocalStore, Store, read_document
from registry_shim.gate.gate import Gate
from registry_shim.gate.ruling import Ruling
from registry_shim.gate.settings import GateRule, GateSettings
from registry_shim.gate.verdicts import NodeVerdict
from tests.support.policies import verdict_predicate
from tests.support.scanned_images import image_of, layer_of
from tests.support.weights import simple_safetensors

__all__ = ["EVIL", "LLM", "Arrivals", "FakeLease", "Upstream", "Watched", "running_gate"]

LLM = Origin(registry="registry.example.com", repository="models/llm")


class _Evil:
    def __reduce__(self) -> Any:
        return os.system, ("true",)


EVIL = pickle.dumps(_Evil(), protocol=4)


class FakeLease:
    """Of a blob in a store, which arrives when its future is done."""

    def __init__(self, store: Store, descriptor: Descriptor, future: Future[None]) -> None:
        self.grid = Grid(descriptor.digest, descriptor.size)
        self._content = read_document(store, descriptor)
        self._fd = os.memfd_create("lease")
        os.pwrite(self._fd, self._content, 0)
        self._future = future

    def available(self, offset: int) -> int:
        return self.grid.size - offset if self._future.done() else 0

    def need(self, offset: int, length: int) -> None:
        pass

    def when(self, offset: int, length: int) -> Future[None]:
        return self._future

    def slice(self, offset: int, length: int) -> FileSlice:
        return FileSlice(path=Path("lease"), fd=self._fd, offset=offset, size=length)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


@dataclass
class Arrivals:
    """The cache as a gate sees it. What is `held` arrives with `release`."""

    store: Store
    held: set[Digest] = field(default_factory=set)
    leased: list[Digest] = field(default_factory=list)
    revoked: dict[Digest, str] = field(default_factory=dict)
    cut: list[Digest] = field(default_factory=list)
    _waiting: dict[Digest, Future[None]] = field(default_factory=dict)

    def lease(self, origin: Origin, descriptor: Descriptor, purpose: Purpose) -> FakeLease:
        self.leased.append(descriptor.digest)
        future: Future[None] = self._waiting.setdefault(descriptor.digest, Future())
        if descriptor.digest not in self.held and not future.done():
            future.set_result(None)
        return FakeLease(self.store, descriptor, future)

    def hold(self, digest: Digest) -> None:
        """It is not here any more."""
        self.held.add(digest)
        self._waiting.pop(digest, None)

    def release(self, digest: Digest, error: ModelcarError | None = None) -> None:
        self.held.discard(digest)
        future = self._waiting.setdefault(digest, Future())
        if error is not None:
            future.set_exception(error)
            del self._waiting[digest]
        else:
            future.set_result(None)

    def revoke(self, digest: Digest, error: ModelcarError) -> None:
        self.revoked[digest] = str(error)
        self.cut.append(digest)

    def allow(self, digest: Digest) -> None:
        self.revoked.pop(digest, None)


@dataclass
class Upstream:
    """A repository with images, signatures and verdicts; `is_down` makes it unreachable."""

    store: LocalStore
    is_down: bool = False
    looks: int = 0

    @property
    def place(self) -> LayoutPlace:
        return LayoutPlace(self.store.content, LLM.name)

    def reading(self, origin: Origin) -> LayoutPlace:
        """As the gate's `places`."""
        self.looks += 1
        if self.is_down:
            raise Unreachable(f"{origin.registry} cannot be reached")
        return self.place

    def image(self, files: Mapping[str, bytes] | None = None, *more: Descriptor, **config: Any) -> Descriptor:
        """An image with one layer of files, and `more` layers above it."""
        named = files or {"models/model.safetensors": simple_safetensors("w")}
        return image_of(self.store, [layer_of(self.store, named), *more], **config)

    def layer(self, files: Mapping[str, bytes]) -> Descriptor:
        return layer_of(self.store, files)

    def content(self, descriptor: Descriptor) -> bytes:
        return read_document(self.store.content, descriptor)

    def document(self, descriptor: Descriptor) -> Manifest | Index:
        return self.place.document(descriptor)

    def layers(self, root: Descriptor) -> list[Digest]:
        document = self.document(root)
        assert isinstance(document, Manifest)
        return [layer.digest for layer in document.layers]

    def sign(self, root: Descriptor, key: PrivateKey) -> None:
        sign_image(self.place, root, KeySignatory(key), created=datetime.now(UTC))

    def sign_alone(self, root: Descriptor, key: PrivateKey) -> None:
        """Sign an index, and none of the manifests in it."""
        statement = Statement.about(root.digest, COSIGN_SIGN, {})
        bundle = KeySignatory(key).sign_statement(statement)
        attach_bundle(self.place, root, bundle, COSIGN_SIGN, created=datetime.now(UTC))

    def state(self, root: Descriptor, key: PrivateKey, verdict: str, **changes: Any) -> None:
        """Attach a scan verdict."""
        predicate = verdict_predicate(verdict, **{"scannedAt": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", **changes})
        statement = Statement.about(root.digest, SCAN_VERDICT, predicate)
        attach_statement(self.place, root, KeySignatory(key), statement, created=datetime.now(UTC))

    def attached(self, root: Descriptor) -> list[Descriptor]:
        """The manifests of what is attached."""
        return list(self.place.referrers(root.digest))


@dataclass
class Watched:
    """`GateEvents`, written down."""

    rulings: list[Ruling] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    verdicts: list[NodeVerdict] = field(default_factory=list)
    failures: int = 0
    cuts: list[int] = field(default_factory=list)
    reloads: list[bool] = field(default_factory=list)

    def ruled(self, ruling: Ruling) -> None:
        self.rulings.append(ruling)

    def refused(self, kind: str) -> None:
        self.refusals.append(kind)

    def scanned(self, verdict: NodeVerdict) -> None:
        self.verdicts.append(verdict)

    def scan_failed(self) -> None:
        self.failures += 1

    def revoked(self, ruling: Ruling, blobs: int) -> None:
        self.cuts.append(blobs)

    def reloaded(self, *, succeeded: bool) -> None:
        self.reloads.append(succeeded)


@asynccontextmanager
async def running_gate(
    root: Path,
    upstream: Upstream,
    *rules: GateRule,
    arrivals: Arrivals | None = None,
    events: Watched | None = None,
    **settings: Any,
) -> AsyncIterator[Gate]:
    """A gate that reads `upstream`, with its folder at `root`."""
    arrivals = arrivals or Arrivals(upstream.store.content)
    gate = Gate(
        GateSettings(rules=rules, **settings), root, upstream.reading, arrivals, arrivals, events=events or Watched()
    )
    await gate.start()
    try:
        yield gate
    finally:
        await gate.close()
