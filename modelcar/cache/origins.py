"""Where a blob may be fetched from, and on whose behalf."""

from __future__ import annotations

import threading
from typing import Final

from modelcar.cache.origin import Origin

__all__ = ["Origins"]

_MOST: Final = 8


class Origins:
    """The repositories from which somebody was found to be allowed to read a blob, who asked last first. Safe to use
    from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: tuple[Origin, ...] = ()

    def add(self, origin: Origin) -> bool:
        """Its authorization, if it has one, replaces what was known for the repository: it is fresher. Returns whether
        there is more to ask with now."""
        with self._lock:
            known = next((o for o in self._known if o == origin), None)
            kept = known if known is not None and origin.authorization is None else origin
            self._known = (kept, *(o for o in self._known if o != origin))[:_MOST]
        return known is None or known.authorization != kept.authorization

    def known(self) -> tuple[Origin, ...]:
        return self._known
