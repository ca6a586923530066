"""What registries turned out to do, kept for a month: the next upload begins with what worked.

Nothing here is relied on. An entry is overwritten as soon as the registry does otherwise, and a file that is damaged or
cannot be written is as good as none.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from modelcar.errors import ModelcarError
from modelcar.registry.dialects import AfterCut, Way, canonical
from modelcar.store.disk import atomic_write, make_dirs

__all__ = ["Habit", "Habits"]

_FILE: Final = "habits.json"
_VERSION: Final = 1
_KEEP: Final = 30 * 86_400.0  # seconds
_MOST: Final = 1000  # registries


@dataclass(frozen=True, slots=True, kw_only=True)
class Habit:
    """Of one registry; `None` is "not known".

    Attributes:
        way: what the last upload ended with, where that is not what the table begins with.
        piece: bytes, with `Way.PIECES`.
        streams: whether it takes one PATCH of any size.
        after_cut: what becomes of a request that breaks off, as it was tried or seen.
        rate: bytes a second of the last upload of some size.
        family: its entry in the table of dialects, by its answers; `""` if they tell nothing.
        at: seconds since the epoch, of the last change.
    """

    way: Way | None = None
    piece: int | None = None
    streams: bool | None = None
    after_cut: AfterCut | None = None
    rate: float | None = None
    family: str | None = None
    at: float = 0.0


_NONE: Final = Habit()


class Habits:
    """In a file of `folder`; without one, in memory. Safe to use from several threads."""

    def __init__(self, folder: Path | None, clock: Callable[[], float] = time.time) -> None:
        self._path = folder / _FILE if folder is not None else None
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, Habit] | None = None

    def of(self, registry: str) -> Habit:
        """What is known of `registry` since less than a month."""
        with self._lock:
            return self._recent(canonical(registry))

    def learn(self, registry: str, **changes: Any) -> None:
        """Remember these fields of its `Habit`."""
        registry = canonical(registry)
        with self._lock:
            known = self._all()
            old = self._recent(registry)
            new = replace(old, **changes)
            if new == old and self._clock() - old.at < _KEEP / 2:
                return
            known.pop(registry, None)
            known[registry] = replace(new, at=self._clock())
            while len(known) > _MOST:
                del known[next(iter(known))]
            self._write(known)

    def _recent(self, registry: str) -> Habit:
        habit = self._all().get(registry, _NONE)
        return habit if self._clock() - habit.at < _KEEP else _NONE

    def _all(self) -> dict[str, Habit]:
        if self._known is None:
            self._known = _read(self._path) if self._path is not None else {}
        return self._known

    def _write(self, known: dict[str, Habit]) -> None:
        if self._path is None:
            return
        document = {"version": _VERSION, "registries": {name: asdict(habit) for name, habit in known.items()}}
        with suppress(ModelcarError):
            make_dirs(self._path.parent)
            atomic_write(self._path, json.dumps(document, indent=1).encode(), mode=0o600)


def _read(path: Path) -> dict[str, Habit]:
    try:
        document = json.loads(path.read_bytes())
        if document["version"] != _VERSION:
            return {}
        return {str(name): _parse(fields) for name, fields in document["registries"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def _parse(fields: dict[str, Any]) -> Habit:
    piece, rate, streams, family = fields["piece"], fields["rate"], fields["streams"], fields.get("family")
    after_cut = fields.get("after_cut")
    return Habit(
        way=Way(fields["way"]) if fields["way"] is not None else None,
        piece=max(1, int(piece)) if piece is not None else None,
        streams=bool(streams) if streams is not None else None,
        after_cut=AfterCut(after_cut) if after_cut is not None else None,
        rate=float(rate) if rate is not None else None,
        family=str(family) if family is not None else None,
        at=float(fields["at"]),
    )
