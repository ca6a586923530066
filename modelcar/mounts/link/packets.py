"""What host and client say to each other: one packet each, a JSON array that begins with the packet's name.

A client says `Attach` once, and is answered by `Files` (with their open files) until `Ready`, or by `Refused`. From
then on it says what somebody waits for (`Need`), and is answered `Done` or `Failed`, each once; `Whole` and `Gone` come
unasked. `Ask` begins another kind of talk: one question to the host itself, one `Answer`.
"""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass
from typing import Final

from modelcar.errors import InvalidDocument

__all__ = [
    "LARGEST",
    "Answer",
    "Ask",
    "Attach",
    "Done",
    "Failed",
    "Files",
    "Gone",
    "Leave",
    "Need",
    "Packet",
    "Ready",
    "Refused",
    "Whole",
    "parse",
    "to_bytes",
]

LARGEST: Final = 64 << 10  # bytes
_LONGEST_TEXT: Final = 4000  # characters
_MOST: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Attach:
    """I serve this mount."""

    mount: str


@dataclass(frozen=True, slots=True)
class Need:
    """Somebody waits for a range of a blob. `number` is the client's name for it."""

    number: int
    blob: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Leave:
    """Nobody waits for it any more."""

    number: int


@dataclass(frozen=True, slots=True)
class Files:
    """Open files of `count` blobs, from `first` on, come with this packet."""

    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Ready:
    """That were the files of all blobs, which are so many."""

    blobs: int


@dataclass(frozen=True, slots=True)
class Refused:
    """There is no such mount, or it cannot be had."""

    text: str


@dataclass(frozen=True, slots=True)
class Whole:
    """All `size` bytes of a blob can be read."""

    blob: int
    size: int


@dataclass(frozen=True, slots=True)
class Done:
    """`[offset, stop)` of a blob can be read, and the range of the `Need` of this number lies within."""

    number: int
    blob: int
    offset: int
    stop: int


@dataclass(frozen=True, slots=True)
class Failed:
    """Whoever waits gets this `errno`; another time it may be had."""

    number: int
    errno: int
    text: str


@dataclass(frozen=True, slots=True)
class Gone:
    """Nothing of this blob is to be read any more."""

    blob: int
    errno: int
    text: str


@dataclass(frozen=True, slots=True)
class Ask:
    """Something else than a door is wanted: a verb, and its JSON in the file that comes with it."""

    verb: str


@dataclass(frozen=True, slots=True)
class Answer:
    """To an `Ask`: JSON in the file that comes with it; `failed` is 1 if that is an error."""

    failed: int


Packet = Attach | Need | Leave | Files | Ready | Refused | Whole | Done | Failed | Gone | Ask | Answer
_KINDS: Final[dict[str, type[Packet]]] = {
    kind.__name__.lower(): kind
    for kind in (Attach, Need, Leave, Files, Ready, Refused, Whole, Done, Failed, Gone, Ask, Answer)
}


def to_bytes(packet: Packet) -> bytes:
    values = [value[:_LONGEST_TEXT] if isinstance(value, str) else value for value in astuple(packet)]
    return json.dumps([type(packet).__name__.lower(), *values], separators=(",", ":")).encode()


def parse(raw: bytes) -> Packet:
    """Raises `InvalidDocument` for what is no packet."""
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        raise InvalidDocument("a packet is no JSON") from None
    if not isinstance(document, list) or not document or not isinstance(document[0], str):
        raise InvalidDocument("a packet is no array with a name")
    name, *values = document
    kind = _KINDS.get(name)
    if kind is None:
        raise InvalidDocument(f"there is no packet {name[:40]!r}")
    wanted = list(kind.__annotations__.values())
    if len(values) != len(wanted) or not all(map(_fits, values, wanted)):
        raise InvalidDocument(f"the packet {name!r} does not hold {', '.join(wanted)}")
    return kind(*values)


def _fits(value: object, wanted: str) -> bool:
    if wanted == "str":
        return isinstance(value, str) and len(value) <= _LONGEST_TEXT
    return type(value) is int and 0 <= value < _MOST
