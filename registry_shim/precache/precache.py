"""Pre-caching as a whole: its threads, its lists, its times."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from modelcar.backoff import Backoff
from modelcar.errors import ModelcarError, NotFound, Refused, WorldError
from registry_shim.precache.bring import Bringing, Interrupted, check_loadable
from registry_shim.precache.doors import Doors
from registry_shim.precache.entry import Entry, Phase
from registry_shim.precache.lists import Folder
from registry_shim.precache.queue import Queue
from registry_shim.precache.settings import PrecacheImage, PrecacheSettings
from registry_shim.precache.windows import is_open, opens_at

__all__ = ["Precache"]

_TICK: Final = 0.5  # seconds between two looks at the queue when nothing was said
_log = logging.getLogger("registry_shim")

ReadYaml = Callable[[str, str], tuple[PrecacheImage, ...]]


class Precache:
    """Fetches what is in its queue. Safe to use from any thread; what is asked of it touches the disk.

    `start` it once the doors are open, and `close` it before they are closed: what is under way is queued again.
    """

    def __init__(
        self,
        root: Path,
        settings: PrecacheSettings,
        doors: Doors,
        read_yaml: ReadYaml,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`read_yaml` is given text and name of a list in YAML. Raises `StorageError`: the queue cannot be read."""
        self.settings = settings
        self._doors = doors
        self._clock = clock
        self._queue = Queue(root / "precache.json", clock)
        self._folder = Folder(settings.folder or root / "precache.d", read_yaml)
        self._stop = threading.Event()
        self._throttling = threading.Lock()
        self._rate: float | None = None
        self._limit: int | None = None
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        jobs = [self._watch, *[self._work] * self.settings.parallel]
        self._threads = [threading.Thread(target=job, name=f"precache-{n}", daemon=True) for n, job in enumerate(jobs)]
        self._throttle()
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Waits until nothing of it runs."""
        self._stop.set()
        with self._queue.changed:
            self._queue.changed.notify_all()
        for thread in self._threads:
            thread.join()

    # What it is asked

    def add(self, image: PrecacheImage, source: str) -> dict[str, Any]:
        """Ask for an image. Raises `UsageError`, `StorageError`."""
        check_loadable(image, self._doors)
        return self._queue.get(self._queue.add(image, source))

    def cancel(self, name: str) -> None:
        """Forget an image, whatever it is at; what is here of it stays until room is needed.

        Raises:
            NotFound: it was not asked for.
            UsageError: a list names it.
        """
        entry = self._queue.drop(name)
        if entry is not None:
            self._let_go(entry)

    def get(self, name: str) -> dict[str, Any]:
        """Raises `NotFound`."""
        return self._queue.get(name)

    def status(self) -> dict[str, Any]:
        """Everything, for people and programs."""
        return {
            "open": self._is_open(),
            "opens_at": opens_at(self.settings.windows, self.settings.zone, self._clock()),
            "rate_limit": self._limit if self._limit is not None else self.settings.rate,
            "images": self._queue.all(),
            "problems": dict(self._folder.problems),
        }

    def limit(self, rate: int) -> None:
        """Bytes per second from now on until a restart; 0: no limit."""
        self._limit = rate
        self._throttle()

    def reload(self, settings: PrecacheSettings) -> None:
        """Take over new settings; the folder and `parallel` stay as they were until a restart."""
        self.settings = settings
        self._throttle()

    # How

    def _watch(self) -> None:
        """Lists and windows, every now and then."""
        problems: dict[str, str] = {}
        looked = float("-inf")
        while not self._stop.wait(0 if looked < 0 else min(_TICK, self.settings.interval)):
            self._throttle()
            if time.monotonic() - looked < self.settings.interval:
                continue
            looked = time.monotonic()
            try:
                self._follow()
            except ModelcarError as e:
                _log.error("precache: %s", e)
            for name, problem in self._folder.problems.items():
                if problems.get(name) != problem:
                    _log.error("precache: %s", problem)
            problems = dict(self._folder.problems)

    def _follow(self) -> None:
        lists = {f"file:{name}": images for name, images in self._folder.images().items()}
        for entry in self._queue.follow({**lists, "configuration": self.settings.images}):
            self._let_go(entry)
        self._queue.check(lambda digest: self._doors.images.presence(digest).whole)  # manifests are evicted first

    def _let_go(self, entry: Entry) -> None:
        if entry.image.pin:
            try:
                self._doors.room.unpin(entry.reference)
            except NotFound:
                pass  # it never came to be pinned, or a person took the pin away
            except ModelcarError as e:
                _log.error("precache: %s", e)

    def _is_open(self) -> bool:
        return is_open(self.settings.windows, self.settings.zone, self._clock())

    def _throttle(self) -> None:
        with self._throttling:
            limit = self._limit if self._limit is not None else self.settings.rate
            rate = 0.0 if not self._is_open() else float(limit) or None
            if rate != self._rate:
                self._rate = rate
                self._doors.throttle(rate)

    def _work(self) -> None:
        while not self._stop.is_set():
            self._throttle()
            entry = self._queue.take() if self._is_open() else None
            if entry is None:
                with self._queue.changed:
                    self._queue.changed.wait(_TICK)
                continue
            try:
                self._bring(entry)
            except ModelcarError as e:  # the disk does not even take the queue; what to do is in memory
                _log.error("precache: %s", e)

    def _bring(self, entry: Entry) -> None:
        image = entry.image
        work = Bringing(
            image,
            self._doors,
            step=lambda phase: self._queue.step(entry, phase),
            report=lambda progress: self._queue.report(entry, progress),
            go_on=lambda: not self._stop.is_set() and self._queue.wants(entry),
        )
        try:
            entry.digest = work.run()
        except Interrupted:
            self._queue.release(entry)
        except ModelcarError as e:
            self._fail(entry, Phase.REFUSED if isinstance(e, Refused) else Phase.FAILED, e)
        except Exception as e:  # a defect of ours must not end the thread
            self._fail(entry, Phase.FAILED, WorldError(f"internal error: {type(e).__name__}: {e}"))
        else:
            _log.info("precache: %s is ready (%s)", entry.name, entry.digest)
            self._queue.settle(entry, Phase.READY, retry_in=image.refresh or None)
            if not self._queue.wants(entry):
                self._let_go(entry)

    def _fail(self, entry: Entry, phase: Phase, error: ModelcarError) -> None:
        wait = Backoff(self.settings.retry, self.settings.retry_most).after(entry.failures + 1)
        _log.warning("precache: %s: %s; tried again in %.0f s", entry.name, error, wait)
        self._queue.settle(entry, phase, retry_in=wait, error=error)
