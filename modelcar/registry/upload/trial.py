"""What a registry takes, and what it does with a request that breaks off: found out with a few bytes, for no registry
says so, and the proxy in front of it decides as much as the registry does.

A session takes a piece, and then a second one is broken off on purpose. What the session is after that tells how a
layer is to be sent. The session is given up; nothing of it is ever visible.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from modelcar.errors import RegistryError
from modelcar.registry.dialects import AfterCut
from modelcar.registry.session import RETRIED
from modelcar.registry.upload.wire import Rejected, Wire

__all__ = ["Trial", "try_session"]

_FIRST: Final = 4 << 10  # bytes that are sent whole
_SECOND: Final = 64 << 10  # bytes that are announced after them
_SENT: Final = 32 << 10  # bytes of those until the line is cut
_PAUSES: Final = (0.1, 0.4)  # seconds that a registry may take to notice


class _CutHere(Exception):
    """Raised in the body of the request that is to break off; the connection ends with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What was found; `None` is "could not be told this time".

    Attributes:
        streams: a session takes a PATCH, and goes on.
        after_cut: what becomes of a PATCH that breaks off. `LOST` where there is no PATCH, too: nothing can be saved.
    """

    streams: bool | None = None
    after_cut: AfterCut | None = None


def try_session(wire: Wire, pause: Callable[[float], None]) -> Trial:
    """Try a session of its own. Raises nothing for what the registry does: what is wrong is said where it matters."""
    try:
        opened = wire.open()
    except RegistryError:
        return Trial()
    location = opened.location
    try:
        try:
            answer = wire.patch(location, 0, _FIRST, lambda: iter([bytes(_FIRST)]), alone=True)
        except Rejected as rejected:
            return Trial() if _by_accident(rejected) else Trial(streams=False, after_cut=AfterCut.LOST)
        if answer.status == 201:  # ECR's way to say no
            return Trial(streams=False, after_cut=AfterCut.LOST)
        location = wire.following(answer) or location
        if opened.least:  # made for pieces of at least that size
            return Trial(streams=True, after_cut=AfterCut.DROPPED)
        return Trial(streams=True, after_cut=_cut(wire, location, pause))
    except RegistryError:
        return Trial(streams=True)
    except BaseException:
        wire.delete(location, brief=True)
        location = ""
        raise
    finally:
        if location:
            wire.delete(location)


def _cut(wire: Wire, location: str, pause: Callable[[float], None]) -> AfterCut | None:
    """Break off the second request of the session, and look what is left."""

    def body() -> Iterator[bytes]:
        yield bytes(_SENT)
        raise _CutHere

    try:
        wire.patch(location, _FIRST, _SECOND, body, alone=False)
    except _CutHere:
        pass
    except Rejected:
        return None  # the line broke by itself, or the registry spoke too early
    for seconds in _PAUSES:
        pause(seconds)
        asked = wire.ask(location)
        if asked is None or asked.kept is None:
            return _goes_on(wire, location)
        if asked.kept > _FIRST + 1:  # Quay counts one more
            return AfterCut.KEPT
        if asked.kept < _FIRST:
            return AfterCut.LOST
        location = asked.location or location
    return AfterCut.DROPPED


def _goes_on(wire: Wire, location: str) -> AfterCut | None:
    """Whether a session that cannot be asked takes another byte where it was before the cut."""
    try:
        taken = wire.patch(location, _FIRST, 1, lambda: iter([b"\0"]), alone=False).status != 201
    except Rejected as rejected:
        return None if _by_accident(rejected) else AfterCut.LOST
    return AfterCut.DROPPED if taken else AfterCut.LOST


def _by_accident(rejected: Rejected) -> bool:
    return rejected.status is None or rejected.status in RETRIED
