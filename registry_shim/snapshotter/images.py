"""Images whose lazy layers are mounted: in the background when they are pulled, and by the time a container starts."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from contextlib import suppress
from pathlib import Path
from typing import Final

from modelcar.errors import ModelcarError, WorldError
from modelcar.oci import Digest
from registry_shim.snapshotter.mounter import LayerMounter
from registry_shim.snapshotter.records import ModelImage

__all__ = ["Images"]

_THREADS: Final = 8
_log = logging.getLogger(__name__)


class Images:
    """Mounts at most once at a time what several ask for. Only a success is remembered."""

    def __init__(self, mounter: LayerMounter) -> None:
        self._mounter = mounter
        self._lock = threading.Lock()
        self._running: dict[Path, Future[None]] = {}
        self._dropped: set[Path] = set()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="images")

    def close(self) -> None:
        """Ends when what runs has ended; mounts stay."""
        self._threads.shutdown(cancel_futures=True)

    def is_lazy(self, image: ModelImage, layer: Digest) -> bool:
        """Whether a layer can be mounted instead of being unpacked."""
        try:
            self._mounter.check(image, layer)
        except ModelcarError as e:
            _log.info("%s of %s is pulled like any other layer: %s", layer, image.reference, e)
            return False
        return True

    def begin(self, image: ModelImage, target: Path) -> Future[None]:
        """Mount it, in the background; done when it is."""
        with self._lock:
            running = self._running.get(target)
            if running is None:
                running = self._running[target] = self._threads.submit(self._mount, image, target)
            return running

    def require(self, images: Iterable[tuple[ModelImage, Path]], seconds: float) -> None:
        """Wait until all of them are mounted.

        Raises:
            WorldError: one is not within that time, or cannot be.
        """
        started = [(image, self.begin(image, target)) for image, target in images]
        for image, mounting in started:
            try:
                mounting.result(seconds)
            except NotYet:
                raise WorldError(
                    f"the model of {image.reference} is not mounted yet", hint="it is being asked for; try again"
                ) from None
            except ModelcarError as e:
                raise WorldError(f"the model of {image.reference} cannot be mounted now: {e}", hint=e.hint) from None

    def recover(self, targets: Iterable[Path]) -> None:
        """After a start: what is mounted and dead goes, before anybody reads it."""
        for target in targets:
            try:
                self._mounter.recover(target)
            except ModelcarError as e:
                _log.warning("cannot unmount %s: %s", target, e)

    def drop(self, targets: Iterable[Path]) -> None:
        """Unmount what is at these places, and remove them: nothing is ever mounted there again. What is being mounted
        goes when it is; what does not go is left for the next time."""
        for target in targets:
            with self._lock:
                self._dropped.add(target)
                is_running = target in self._running
            if not is_running:
                self._unmount(target)

    def _mount(self, image: ModelImage, target: Path) -> None:
        try:
            with self._lock:
                if target in self._dropped:
                    raise WorldError("it was removed meanwhile")
            self._mounter.mount(image, target)
        except ModelcarError as e:
            _log.warning("%s cannot be mounted: %s", image.reference, e)
            raise
        finally:
            with self._lock:
                self._running.pop(target, None)
                is_dropped = target in self._dropped
            if is_dropped:
                self._unmount(target)

    def _unmount(self, target: Path) -> None:
        try:
            self._mounter.unmount(target)
            _remove(target)
        except (ModelcarError, OSError) as e:
            _log.warning("cannot unmount %s: %s", target, e)


def _remove(target: Path) -> None:
    """The empty folders below what was mounted."""
    with suppress(FileNotFoundError):
        for folder in target.iterdir():
            folder.rmdir()
        target.rmdir()
