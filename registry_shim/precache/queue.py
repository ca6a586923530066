"""What was asked for, in its order, on disk: a restart goes on where it was."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final

from modelcar.errors import InvalidDocument, NotFound, StorageError, UsageError
from modelcar.files import read_own
from modelcar.oci import Digest, compact_json, parse_object
from modelcar.oci.document import Fields
from modelcar.store.disk import atomic_write, explain
from registry_shim.precache.entry import Entry, Phase, Progress
from registry_shim.precache.settings import PrecacheImage

__all__ = ["Queue"]

_MAX_FILE: Final = 64 << 20  # bytes
_MOST: Final = 10_000  # images
_log = logging.getLogger("registry_shim")


class Queue:
    """One entry an image name. Kept in `path`, which is replaced when an entry comes, goes, or changes its phase."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        """A damaged file is put aside: only work is lost. Raises `StorageError`: it cannot be read."""
        self._path = path
        self._clock = clock
        self.changed = threading.Condition()
        self._entries: dict[str, Entry] = {}
        self._next = 0
        for record in _read(path):
            entry = Entry.from_record(record, self._next)
            self._entries[entry.name] = entry
            self._next += 1

    def all(self) -> list[dict[str, Any]]:
        """In the order in which they are or were taken."""
        with self.changed:
            return [entry.to_dict() for entry in sorted(self._entries.values(), key=_turn)]

    def get(self, name: str) -> dict[str, Any]:
        """Raises `NotFound`."""
        with self.changed:
            return self._entry(name).to_dict()

    def add(self, image: PrecacheImage, source: str) -> str:
        """Ask for an image, anew if it is here already; the latest options count. Returns its full name.

        Raises:
            UsageError: there are too many.
            StorageError: it cannot be written down.
        """
        with self.changed:
            if len(self._entries) >= _MOST:
                raise UsageError(f"{_MOST} images wait already", hint="registry-shim precache --cancel REF")
            entry = Entry(image=image, sources={source}, order=self._next, since=self._clock())
            with self._undone_unless_saved(entry.name):
                known = self._entries.get(entry.name)
                if known is None:
                    self._next += 1
                    self._put(entry)
                else:
                    known.sources.add(source)
                    known.image = image
                    if known.phase.is_settled:
                        self._step(known, Phase.QUEUED)
                        known.retry_at = 0.0
            return entry.name

    def drop(self, name: str, source: str | None = None) -> Entry | None:
        """Nobody wants it any more, or `source` does not; returns the entry once that was the last.

        Raises:
            NotFound: it is not here.
            UsageError: without `source`, if a list names it, which would only bring it back.
            StorageError: it cannot be written down.
        """
        with self.changed:
            entry = self._entry(name)
            lists = [s for s in entry.sources if _is_list(s)]
            if source is None and lists:
                raise UsageError(f"{name} stands in a list ({lists[0]})", hint="remove it there")
            with self._undone_unless_saved(name):
                entry.sources = set() if source is None else entry.sources - {source}
                if not entry.sources:
                    del self._entries[name]
            return None if entry.sources else entry

    def follow(self, lists: Mapping[str, Iterable[PrecacheImage]]) -> list[Entry]:
        """Take over what lists say: `lists` has all that there are, by source. Returns what nobody wants any more."""
        wanted = {
            (str(Entry(image=i, sources=set(), order=0).name), source): i for source, ii in lists.items() for i in ii
        }
        with self.changed:
            known = {(name, source): entry for name, entry in self._entries.items() for source in entry.sources}
        for (name, source), image in wanted.items():
            entry = known.get((name, source))
            if entry is None or (entry.image != image and len(entry.sources) == 1):
                self.add(image, source)
        gone = []
        for name, source in known.keys() - wanted.keys():
            if _is_list(source):
                entry = self.drop(name, source)
                gone += [entry] if entry else []
        return gone

    def take(self) -> Entry | None:
        """The next one whose time has come; it is this caller's until `settle` or `release`."""
        with self.changed:
            now = self._clock()
            due = [e for e in self._entries.values() if not e.running and _is_due(e, now)]
            if not due:
                return None
            entry = min(due, key=_turn)
            entry.running = True
            entry.error = entry.hint = None
            entry.progress = Progress()
            return entry

    def wants(self, entry: Entry) -> bool:
        """Whether it was not cancelled meanwhile."""
        return self._entries.get(entry.name) is entry

    def step(self, entry: Entry, phase: Phase) -> None:
        with self.changed:
            self._step(entry, phase)

    def report(self, entry: Entry, progress: Progress) -> None:
        with self.changed:
            entry.progress = progress

    def settle(self, entry: Entry, phase: Phase, *, retry_in: float | None, error: Exception | None = None) -> None:
        """It is over for now; `retry_in` seconds from now it is due again."""
        with self.changed:
            self._step(entry, phase)
            entry.running = False
            entry.failures = 0 if phase is Phase.READY else entry.failures + 1
            entry.retry_at = 0.0 if retry_in is None else self._clock() + retry_in
            entry.error = str(error) if error else None
            entry.hint = getattr(error, "hint", None)
            self._save()

    def check(self, is_here: Callable[[Digest], bool]) -> None:
        """Look whether what was ready still is. Raises `StorageError`."""
        with self.changed:
            ready = [(e, e.digest) for e in self._entries.values() if e.phase is Phase.READY and e.digest is not None]
        gone = [(entry, digest) for entry, digest in ready if not is_here(digest)]
        with self.changed:
            for entry, digest in gone:
                if entry.phase is Phase.READY and entry.digest == digest and not entry.running:
                    self._step(entry, Phase.EVICTED)
                    entry.progress = Progress()
            if gone:
                self._save()

    def release(self, entry: Entry) -> None:
        """Give it back undone: the shim stops, or it was cancelled."""
        with self.changed:
            entry.running = False
            self._step(entry, Phase.QUEUED)
            self._save()

    @contextmanager
    def _undone_unless_saved(self, name: str) -> Iterator[None]:
        """Save what is done to one entry; where that fails, whoever asked is told no, and nothing has happened."""
        entry = self._entries.get(name)
        before = replace(entry, sources=set(entry.sources)) if entry is not None else None
        try:
            yield
            self._save()
        except StorageError:
            self._entries.pop(name, None)
            if entry is not None:
                for field in fields(entry):
                    setattr(entry, field.name, getattr(before, field.name))
                self._entries[name] = entry
            raise

    def _put(self, entry: Entry) -> None:
        self._entries[entry.name] = entry

    def _entry(self, name: str) -> Entry:
        if name not in self._entries:
            raise NotFound(f"{name} is not among the images to pre-cache", hint="registry-shim precache --list")
        return self._entries[name]

    def _step(self, entry: Entry, phase: Phase) -> None:
        if entry.phase is not phase:
            entry.phase, entry.since = phase, self._clock()
        self.changed.notify_all()

    def _save(self) -> None:
        records = [e.to_record() for e in sorted(self._entries.values(), key=lambda e: e.order)]
        atomic_write(self._path, compact_json({"images": records}), mode=0o600)
        self.changed.notify_all()


def _is_list(source: str) -> bool:
    return source == "configuration" or source.startswith("file:")


def _turn(entry: Entry) -> tuple[int, int]:
    return -entry.image.priority, entry.order


def _is_due(entry: Entry, now: float) -> bool:
    if not entry.phase.is_settled:
        return True
    return 0 < entry.retry_at <= now


def _read(path: Path) -> list[Fields]:
    try:
        records = Fields(parse_object(read_own(path, _MAX_FILE), "queue", limit=_MAX_FILE), "queue").objects("images")
        for record in records:
            Entry.from_record(record, 0)
        return records
    except FileNotFoundError:
        return []
    except OSError as e:
        raise explain(e, f"cannot read {path}") from None
    except InvalidDocument as e:
        aside = path.with_name(f"{path.name}.damaged")
        _log.error("%s is damaged: %s; it is kept as %s", path, e, aside.name)
        try:
            path.replace(aside)
        except OSError as problem:
            raise explain(problem, f"cannot rename {path}") from None
        return []
