"""One question at a time: whoever asks what is being asked already waits for that answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from typing import Any, TypeVar, cast

__all__ = ["Flights"]

T = TypeVar("T")


class Flights:
    """For one event loop. A question goes on when those who asked leave."""

    def __init__(self) -> None:
        self._running: dict[Hashable, asyncio.Task[Any]] = {}

    async def once(self, key: Hashable, question: Callable[[], Awaitable[T]]) -> T:
        """The answer to `question`. A failure is nobody's but the first asker's: the others ask once more, together."""
        running = self._running.get(key)
        if running is not None:
            await asyncio.wait([running])
            with suppress(Exception):
                if not running.cancelled():
                    return cast(T, running.result())
            running = self._running.get(key)
        if running is None:
            running = self._running[key] = asyncio.ensure_future(_asked(question))
            running.add_done_callback(lambda done: self._ended(key, done))
        return cast(T, await asyncio.shield(running))

    def _ended(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        if self._running.get(key) is task:
            del self._running[key]
        if not task.cancelled():
            task.exception()  # looked at: whoever asked may be gone

    async def close(self) -> None:
        """Wait for what runs."""
        while self._running:
            await asyncio.wait(list(self._running.values()))


async def _asked(question: Callable[[], Awaitable[T]]) -> T:
    return await question()
