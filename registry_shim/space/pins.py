"""What must stay on this node, whatever the disk says."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

from modelcar.errors import InvalidDigest, InvalidDocument, InvalidReference, NotFound, StorageError
from modelcar.files import read_own
from modelcar.oci import Digest, Reference, compact_json, parse_object
from modelcar.oci.document import Fields
from modelcar.store.disk import atomic_write, explain

__all__ = ["Pin", "Pins"]

_MAX_FILE: Final = 16 << 20  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """`reference` names a tag or a digest. A tag may move: `digest` is the last image under it that was whole here,
    and stays until the next one is."""

    reference: Reference
    digest: Digest | None = None

    @property
    def name(self) -> str:
        return str(self.reference)

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        digest = fields.optional_text("digest")
        return cls(reference=Reference.parse(fields.text("reference")), digest=Digest.parse(digest) if digest else None)


class Pins:
    """Kept in `path` (ROOT/pins.json), which is replaced with every change. Safe to use from several threads.

    Raises:
        StorageError: the file cannot be read, or is not one of ours. Nobody knows then what must stay.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._pins = {pin.name: pin for pin in _read(path)}

    def all(self) -> tuple[Pin, ...]:
        return tuple(self._pins.values())

    def add(self, reference: Reference, digest: Digest | None = None) -> Pin:
        """Pin an image, here or not yet. Raises `StorageError`."""
        pin = Pin(reference=reference, digest=digest or reference.digest)
        with self._lock:
            self._put(self._pins | {pin.name: pin})
        return pin

    def remove(self, reference: Reference) -> None:
        """Raises `NotFound`: it is not pinned."""
        with self._lock:
            if str(reference) not in self._pins:
                raise NotFound(f"{reference} is not pinned", hint="registry-shim status lists the pins")
            self._put({name: pin for name, pin in self._pins.items() if name != str(reference)})

    def settle(self, reference: Reference, digest: Digest) -> None:
        """The image that a pinned tag names now is whole here: it takes the place of the one before it."""
        with self._lock:
            pin = self._pins.get(str(reference))
            if pin is not None and pin.digest != digest:
                self._put(self._pins | {pin.name: replace(pin, digest=digest)})

    def _put(self, pins: dict[str, Pin]) -> None:
        entries = [
            {"reference": pin.name} | ({"digest": str(pin.digest)} if pin.digest else {}) for pin in pins.values()
        ]
        atomic_write(self._path, compact_json({"pins": entries}), mode=0o600)
        self._pins = pins


def _read(path: Path) -> list[Pin]:
    try:
        fields = Fields(parse_object(read_own(path, _MAX_FILE), "pins", limit=_MAX_FILE), "pins")
        return [Pin.from_fields(entry) for entry in fields.objects("pins")]
    except FileNotFoundError:
        return []
    except OSError as e:
        raise explain(e, f"cannot read {path}") from None
    except (InvalidDocument, InvalidDigest, InvalidReference) as e:
        raise StorageError(f"{path} is damaged: {e}", hint="mend it or remove it, and pin again") from None
