"""Lazy layers of images, for the snapshotter beside this node: which may be mounted, and who serves their bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from modelcar.cache.origin import Origin
from modelcar.errors import InvalidDocument, NotFound, WorldError
from modelcar.mounts.figures import MountFigures
from modelcar.mounts.host import MountHost
from modelcar.mounts.plan import MountPlan
from modelcar.mounts.plans import plan_image
from modelcar.mounts.records import MountRecord
from modelcar.oci import Descriptor, Digest, Manifest, Reference, parse_manifest
from modelcar.packaging.inspect import index_layer_of
from registry_shim.mirror.admission import Admission
from registry_shim.mounts.layered import by_layer

__all__ = ["Added", "NodeImages", "NodeMounts"]

T = TypeVar("T")

_GATE_SECONDS: Final = 20.0


class NodeImages(Protocol):
    """Images of the node's upstreams; all of it blocks."""

    def origin(self, reference: Reference) -> Origin:
        """Raises `UsageError` or `Denied` if they are not this node's to fetch."""

    def manifest(self, origin: Origin, target: str | Digest) -> tuple[Descriptor, bytes]:
        """Raises as the upstream does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """A mount that waits for its processes: `plan` is the file with its plan, `socket` where its host listens."""

    id: str
    plan: Path
    socket: Path


class NodeMounts:
    """Safe to use from several threads, but for the event loop's, which has to run meanwhile."""

    def __init__(
        self,
        host: MountHost,
        socket: Path,
        images: NodeImages,
        admission: Admission,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """`socket` is where doors to `host` are opened."""
        self._host = host
        self._socket = socket
        self._images = images
        self._admission = admission
        self._loop = loop

    def check(self, reference: Reference, manifest: Digest, layer: Digest) -> None:
        """Raise `ModelcarError` unless that layer of an image can be mounted."""
        _, plan = self._plan(reference, manifest)
        if layer not in (blob.digest for blob in plan.blobs):
            raise NotFound(f"{layer} is no layer of {reference} that can be mounted")

    def add(self, id: str, reference: Reference, manifest: Digest, target: Path) -> Added:  # noqa: A002  # a mount's
        """Begin to serve the lazy layers of an image, and to fetch them. Doing it again changes nothing.

        Raises:
            Denied: the gate says no.
            ModelcarError: the image cannot be had, or not be mounted.
        """
        origin, plan = self._plan(reference, manifest)
        record = MountRecord(id=id, target=target, origin=origin)
        return Added(id=id, plan=self._host.add(record, plan), socket=self._socket)

    def started(self, id: str, supervisor: int, front: str) -> None:  # noqa: A002  # a mount's
        """That process holds the mount. Raises `NotFound`."""
        self._host.started(id, supervisor, front)

    def remove(self, target: Path) -> None:
        """What was mounted at `target` is over."""
        for id, record in self._host.mounts().items():  # noqa: A001  # a mount's
            if record.target == target:
                self._host.remove(id)

    def all(self) -> list[dict[str, Any]]:
        """What is served, for people."""
        return [figures.to_dict() for figures in self.figures()]

    def figures(self) -> list[MountFigures]:
        """How far what is served is."""
        return self._host.figures()

    def _plan(self, reference: Reference, digest: Digest) -> tuple[Origin, MountPlan]:
        origin = self._images.origin(reference)
        descriptor, content = self._images.manifest(origin, digest)
        self._await(self._admission.admit(origin, descriptor, content))
        manifest = parse_manifest(content, descriptor.media_type)
        if not isinstance(manifest, Manifest):
            raise InvalidDocument(f"{digest} is an index, and no image")
        if index_layer_of(manifest) is None:
            raise NotFound(f"{reference} has no model index", hint="`modelcar build` makes images that have one")
        reading = self._host.reading(MountRecord(id="plan", target=Path("/"), origin=origin))
        plan = by_layer(plan_image(str(reference), manifest, reading))
        for blob in plan.blobs:
            self._await(self._admission.admit_blob(origin, blob.digest))
        return origin, plan

    def _await(self, question: Coroutine[Any, Any, T]) -> T:
        asked = asyncio.run_coroutine_threadsafe(question, self._loop)
        try:
            return asked.result(_GATE_SECONDS)
        except TimeoutError:
            asked.cancel()
            raise WorldError("the gate has not decided yet", hint="a scan takes its time; try again") from None
