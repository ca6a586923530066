"""Work that blocks, away from the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

__all__ = ["in_thread"]

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """As `asyncio.to_thread`, but whoever is cancelled leaves only when the thread is done.

    So nobody closes a file that a thread still writes to.
    """
    job = asyncio.get_running_loop().run_in_executor(None, partial(function, *arguments, **named))
    interruption: asyncio.CancelledError | None = None
    while not job.done():
        try:
            await asyncio.wait([job])
        except asyncio.CancelledError as e:
            interruption = e
    if interruption is not None:
        job.exception()  # looked at, so that nobody reports it as forgotten
        raise interruption
    return job.result()
