"""Threads for each registry, so that one that hangs holds nobody up who asks about another's images."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

__all__ = ["Threads"]


class Threads:
    """For the event loop alone."""

    def __init__(self, name: str, each: int) -> None:
        self._name, self._each = name, each
        self._pools: dict[str, ThreadPoolExecutor] = {}

    def of(self, registry: str) -> ThreadPoolExecutor:
        if registry not in self._pools:
            self._pools[registry] = ThreadPoolExecutor(self._each, f"{self._name}-{registry}")
        return self._pools[registry]

    def stop(self) -> None:
        """Begin nothing more; what is under way goes on."""
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)

    def join(self) -> None:
        """Wait for what is under way. Blocks."""
        for pool in self._pools.values():
            pool.shutdown()
