"""The configuration while a server runs: what may change does, what may not is said, what is wrong changes nothing."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from modelcar.errors import ModelcarError
from modelcar.files import stamps_of
from modelcar.serving.threads import in_thread

__all__ = ["Reloader", "changes"]

S = TypeVar("S")

_LOOK_SECONDS: Final = 5.0
_log = logging.getLogger("modelcar.serving")


class Reloader(Generic[S]):
    """Reads the file again when it changes, or when it is asked to (SIGHUP).

    `read` gives its settings, as the command line overrides them. `appliers` says what is done when something below a
    path changed (`limits`, `mirror.upstreams`); the longest path that matches counts. Everything else waits for a
    restart.
    """

    def __init__(
        self,
        path: Path,
        current: S,
        read: Callable[[], S],
        appliers: Mapping[str, Callable[[S], Awaitable[None] | None]],
        *,
        look_seconds: float = _LOOK_SECONDS,
    ) -> None:
        self.current = current
        self._path = path
        self._read = read
        self._appliers = appliers
        self._look_seconds = look_seconds
        self._seen = stamps_of([path])
        self._one = asyncio.Lock()
        self._tasks: set[asyncio.Task[bool]] = set()

    async def watch(self) -> None:
        """Look at the file again and again; run it as a task."""
        while True:
            await asyncio.sleep(self._look_seconds)
            now = await in_thread(stamps_of, [self._path])
            if now != self._seen:
                await self.reload()

    def soon(self) -> None:
        """`reload`, for a signal handler."""
        task = asyncio.get_running_loop().create_task(self.reload())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def reload(self) -> bool:
        """Read the file now; returns whether its settings are in force, as far as they can be without a restart."""
        async with self._one:
            self._seen = await in_thread(stamps_of, [self._path])
            try:
                wanted = await in_thread(self._read)
                changed = list(changes(self.current, wanted))
                await self._apply(wanted, changed)
            except ModelcarError as e:
                for line in e.reasons or (str(e),):
                    _log.error("the configuration is not changed: %s", line)
                return False
            self.current = wanted
            if not changed:
                _log.info("the configuration is as it was")
            return True

    async def _apply(self, wanted: S, changed: list[str]) -> None:
        owners = {path: self._owner(path) for path in changed}
        for key in sorted({owner for owner in owners.values() if owner is not None}):
            done = self._appliers[key](wanted)
            if done is not None:
                await done
        for path, owner in owners.items():
            if owner is None:
                _log.warning("the configuration's %s changes with the next restart", path)
            else:
                _log.warning("the configuration's %s has changed", path)

    def _owner(self, path: str) -> str | None:
        """The applier that a changed setting belongs to."""
        parts = path.split(".")
        return next((key for n in range(len(parts), 0, -1) if (key := ".".join(parts[:n])) in self._appliers), None)


def changes(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """The dotted paths at which two settings differ; a list counts as one."""
    if before == after:
        return
    if dataclasses.is_dataclass(before) and type(before) is type(after):
        for field in dataclasses.fields(before):
            inner = f"{path}.{field.name}".removeprefix(".")
            yield from changes(getattr(before, field.name), getattr(after, field.name), inner)
    else:
        yield path
