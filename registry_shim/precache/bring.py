"""One image, from its name to being ready: resolved, given room, fetched, verified, let through, pinned, imported."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from contextlib import ExitStack
from typing import Final

from modelcar.cache.lease import Lease
from modelcar.cache.origin import Origin
from modelcar.errors import InvalidContent, NoSpace, NotFound, RegistryError, StorageError, UsageError
from modelcar.oci import Descriptor, Digest, Platform, Reference
from modelcar.progress import human_size
from registry_shim.precache.doors import Doors
from registry_shim.precache.entry import Phase, Progress
from registry_shim.precache.meter import Meter
from registry_shim.precache.settings import PrecacheImage
from registry_shim.precache.wanted import this_platform, wanted

__all__ = ["Bringing", "Interrupted", "check_loadable"]

_AHEAD: Final = 4  # blobs of an image under way at a time
_POLL: Final = 0.25  # seconds between two looks at what arrives, and whether to go on
_COMMIT: Final = 600.0  # seconds that a blob of which every chunk is here may take to be found right and stored
_log = logging.getLogger("registry_shim")


class Interrupted(Exception):
    """It is not wanted any more, or the shim stops. What is here stays."""


def check_loadable(image: PrecacheImage, doors: Doors) -> None:
    """Raise `UsageError` if an image is to be imported, and this node knows of no engine."""
    if image.load and doors.importer is None:
        raise UsageError(
            f"{image.name} is to be imported, and this node knows of no engine", hint="`imports` in the configuration"
        )


class Bringing:
    """`run` does all of it. `step` and `report` are told how far it is; `go_on` is asked whether to."""

    def __init__(
        self,
        image: PrecacheImage,
        doors: Doors,
        *,
        step: Callable[[Phase], None],
        report: Callable[[Progress], None],
        go_on: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._image = image
        self._doors = doors
        self._step, self._report, self._go_on = step, report, go_on
        self._clock = clock
        self._reference = Reference.parse(image.reference)

    def run(self) -> Digest:
        """Returns the digest of what is ready now.

        Raises:
            Refused: the gate says no, or content is not what it should be.
            ModelcarError: it failed, and may work another time.
            Interrupted: see there.
        """
        check_loadable(self._image, self._doors)
        self._step(Phase.RESOLVING)
        origin = self._doors.images.origin(self._reference)
        root, content = self._doors.images.manifest(origin, self._reference.digest or self._reference.tag or "")
        if self._doors.guard is not None:  # before a byte of what cannot be served anyway
            self._await(self._doors.guard.foresee(origin, root))
        parts = wanted(root, content, lambda d: self._doors.images.manifest(origin, d.digest)[1], self._platform())
        everything = (root, *parts.manifests, *parts.blobs)
        self._check_size(sum(part.size for part in everything))
        with self._doors.room.reserved({part.digest: part.size for part in everything}):
            self._step(Phase.FETCHING)
            self._fetch(origin, parts.blobs)
            self._attach(origin, (root, *parts.manifests))
            self._step(Phase.CHECKING)
            if self._doors.guard is not None:
                self._await(self._doors.guard.ready(origin, root))
            if self._image.pin:
                self._doors.room.pin(self._reference)
            if self._doors.importer is not None and self._image.load:
                self._step(Phase.IMPORTING)
                self._doors.importer(self._reference, [part.digest for part in (root, *parts.manifests, *parts.blobs)])
        return root.digest

    def _check_size(self, size: int) -> None:
        most = self._image.most
        if most and size > most:
            self._report(Progress(total=size))
            raise NoSpace(f"{self._image.name} needs {human_size(size)}, and may take {human_size(most)}")

    def _platform(self) -> Platform | None:
        chosen = self._image.platform
        return None if chosen == "all" else Platform.parse(chosen) if chosen else this_platform()

    def _fetch(self, origin: Origin, blobs: Sequence[Descriptor]) -> None:
        meter = Meter(blobs, self._doors.images.presence, self._report, self._clock)
        with ExitStack() as stack:
            running: deque[tuple[Descriptor, Lease]] = deque()
            for blob in blobs:
                if len(running) == _AHEAD:
                    self._finish(*running.popleft(), meter)
                lease = stack.enter_context(self._doors.images.lease(origin, blob))
                running.append((blob, lease))
            for blob, lease in running:
                self._finish(blob, lease, meter)
        meter.look()

    def _finish(self, blob: Descriptor, lease: Lease, meter: Meter) -> None:
        """Wait until a blob is in the store: only there its whole digest is known to be right."""
        arrived = lease.when(0, blob.size)
        while not wait([arrived], timeout=_POLL).done:
            self._check_wanted()
            meter.look()
        arrived.result()
        deadline = self._clock() + _COMMIT
        while not self._doors.images.presence(blob.digest).whole:
            self._check_wanted()
            if self._clock() > deadline:
                raise StorageError(f"{blob.digest} is here, and was not stored within {_COMMIT:.0f} s")
            lease.when(0, blob.size).result(_POLL)  # fails if it is found wrong
            time.sleep(_POLL / 5)
        meter.look()
        lease.close()

    def _attach(self, origin: Origin, manifests: Sequence[Descriptor]) -> None:
        """Signatures and attestations, so that it can be verified when its upstream is gone."""
        for manifest in manifests:
            try:
                self._doors.images.attachments(origin, manifest.digest)
            except (RegistryError, InvalidContent, NotFound, TimeoutError) as e:
                _log.warning("%s: what signs %s cannot be fetched: %s", origin, manifest.digest, e)

    def _await(self, verdict: Future[None]) -> None:
        try:
            while not wait([verdict], timeout=_POLL).done:
                self._check_wanted()
            verdict.result()
        finally:
            verdict.cancel()

    def _check_wanted(self) -> None:
        if not self._go_on():
            raise Interrupted
