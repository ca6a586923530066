"""What signals mean: SIGTERM and SIGINT end the node, the second of them at once; SIGHUP reads the configuration."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["Stop", "handled"]

_ENDING: Final = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """`asked` is set by the first signal; what `hurry` was given is called by the second."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self._hurry: list[Callable[[], None]] = []

    def hurry(self, action: Callable[[], None]) -> None:
        """Call `action` if the end has to come at once."""
        self._hurry.append(action)

    def tell(self) -> None:
        """A signal came."""
        if not self.asked.is_set():
            self.asked.set()
            return
        for action in self._hurry:
            action()


@contextmanager
def handled(stop: Stop, reload: Callable[[], object] | None = None) -> Iterator[None]:
    """Within the block signals are ours; for the main thread's event loop. After it they do what they did before."""
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (*_ENDING, signal.SIGHUP)}
    for number in _ENDING:
        loop.add_signal_handler(number, stop.tell)
    if reload is not None:
        loop.add_signal_handler(signal.SIGHUP, reload)
    try:
        yield
    finally:
        for number, action in before.items():
            if loop.remove_signal_handler(number):  # which leaves what is theirs by default
                signal.signal(number, action)
