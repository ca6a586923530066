"""The messages of containerd's snapshots service, version 1, by the numbers of their fields."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Self

from modelcar.errors import InvalidDocument
from registry_shim.protobuf import decode, embedded, encode, entries, numbered, text
from registry_shim.snapshotter.records import Kind, Snapshot

__all__ = ["Committing", "Key", "Listing", "Mount", "Preparing", "Updating", "info", "infos", "mounts", "usage"]

_NANO: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One `mount(2)`, as containerd does it. `options` are mount flags and data in containerd's words."""

    type: str
    source: str
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparing:
    """What Prepare and View ask for; `parent` is empty for the lowest layer."""

    key: str
    parent: str = ""
    labels: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, message: bytes) -> Self:
        """Raises `InvalidDocument`."""
        fields = numbered(message)
        return cls(key=_key(fields.get(2)), parent=text(fields.get(3)), labels=_labels(message, 4))


@dataclass(frozen=True, slots=True, kw_only=True)
class Committing:
    """What Commit asks for: `key` becomes `name`, with these labels and no others."""

    name: str
    key: str
    labels: dict[str, str]
    parent: str = ""

    @classmethod
    def parse(cls, message: bytes) -> Self:
        """Raises `InvalidDocument`."""
        fields = numbered(message)
        return cls(
            name=_key(fields.get(2)),
            key=_key(fields.get(3)),
            labels=_labels(message, 4),
            parent=text(fields.get(5)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What Mounts, Remove, Stat and Usage ask about."""

    key: str

    @classmethod
    def parse(cls, message: bytes) -> Self:
        """Raises `InvalidDocument`."""
        return cls(key=_key(numbered(message).get(2)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Updating:
    """What Update asks for: the labels, or those that `paths` name (`labels`, `labels.KEY`)."""

    name: str
    labels: dict[str, str]
    paths: tuple[str, ...]

    @classmethod
    def parse(cls, message: bytes) -> Self:
        """Raises `InvalidDocument`."""
        fields = numbered(message)
        wanted, mask = _bytes(fields.get(2)), _bytes(fields.get(3))
        return cls(
            name=_key(numbered(wanted).get(1)),
            labels=_labels(wanted, 6),
            paths=tuple(text(value) for number, value in decode(mask) if number == 1),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What List asks for: what any of the filters matches, or everything."""

    filters: tuple[str, ...]

    @classmethod
    def parse(cls, message: bytes) -> Self:
        """Raises `InvalidDocument`."""
        return cls(filters=tuple(text(value) for number, value in decode(message) if number == 2))


def mounts(found: Iterable[Mount]) -> bytes:
    """The answer to Prepare, View and Mounts."""
    return b"".join(
        embedded(1, encode((1, m.type), (2, m.source)) + b"".join(embedded(4, o.encode()) for o in m.options))
        for m in found
    )


def info(snapshot: Snapshot) -> bytes:
    """The answer to Stat and Update."""
    return embedded(1, _info(snapshot))


def infos(found: Iterable[Snapshot]) -> bytes:
    """One of the answers to List."""
    return b"".join(embedded(1, _info(snapshot)) for snapshot in found)


def usage(size: int, inodes: int) -> bytes:
    """The answer to Usage: bytes and inodes on the disk."""
    return encode((1, size), (2, inodes))


def _info(snapshot: Snapshot) -> bytes:
    return (
        encode((1, snapshot.name), (2, snapshot.parent), (3, _KINDS[snapshot.kind]))
        + embedded(4, _timestamp(snapshot.created))
        + embedded(5, _timestamp(snapshot.updated))
        + entries(6, snapshot.labels)
    )


_KINDS: Final = {Kind.VIEW: 1, Kind.ACTIVE: 2, Kind.COMMITTED: 3}


def _timestamp(nanoseconds: int) -> bytes:
    return encode((1, nanoseconds // _NANO), (2, nanoseconds % _NANO))


def _key(value: int | bytes | None) -> str:
    if not (key := text(value)):
        raise InvalidDocument("a request names no snapshot")
    return key


def _labels(message: bytes, number: int) -> dict[str, str]:
    found = (numbered(_bytes(value)) for n, value in decode(message) if n == number)
    return {text(entry.get(1)): text(entry.get(2)) for entry in found}


def _bytes(value: int | bytes | None) -> bytes:
    if isinstance(value, int):
        raise InvalidDocument("a message has a number where another message belongs")
    return value or b""
