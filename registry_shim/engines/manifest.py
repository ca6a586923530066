"""The record of what was wired."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from modelcar.errors import StorageError

__all__ = ["Before", "Entry", "Manifest", "Wired"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """A file that was there before us; its content is kept under its sha256."""

    sha256: str
    mode: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file of ours.

    Attributes:
        path: as the node sees it.
        owner: the module that wanted it.
        before: what was there; `None` for nothing.
        folders: those that were made for it, outermost first.
        written: sha256 of what we wrote; while it is being replaced, of what was and of what will be there.
    """

    path: PurePosixPath
    owner: str
    before: Before | None = None
    folders: tuple[PurePosixPath, ...] = ()
    written: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wired:
    """Which registries the engines behind `owner` take from which shim. `config_path` is containerd's."""

    owner: str
    shim: str
    registries: tuple[str, ...]
    config_path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Everything that is wired, in the order in which it was."""

    entries: tuple[Entry, ...] = ()
    wired: tuple[Wired, ...] = ()

    def find(self, path: PurePosixPath) -> Entry | None:
        return next((entry for entry in self.entries if entry.path == path), None)

    def having(self, entry: Entry) -> Manifest:
        """With `entry` in the place of the one of its path, or at the end."""
        if self.find(entry.path) is None:
            return replace(self, entries=(*self.entries, entry))
        return replace(self, entries=tuple(entry if e.path == entry.path else e for e in self.entries))

    def without(self, path: PurePosixPath) -> Manifest:
        """An owner of no file any more is not wired."""
        entries = tuple(entry for entry in self.entries if entry.path != path)
        owners = {entry.owner for entry in entries}
        return replace(self, entries=entries, wired=tuple(w for w in self.wired if w.owner in owners))

    def wiring(self, wired: Sequence[Wired]) -> Manifest:
        """With `wired` in the place of what was known of their owners."""
        owners = {w.owner for w in wired}
        return replace(self, wired=(*(w for w in self.wired if w.owner not in owners), *wired))

    def to_bytes(self) -> bytes:
        document = {
            "version": 1,
            "wired": [asdict(wired) for wired in self.wired],
            "files": [_entry_to_dict(entry) for entry in self.entries],
        }
        return json.dumps(document, indent=1).encode() + b"\n"

    @classmethod
    def parse(cls, data: bytes) -> Manifest:
        """Raises StorageError for a record that we did not write."""
        try:
            document = json.loads(data)
            return cls(
                entries=tuple(map(_entry_from_dict, document["files"])),
                wired=tuple(Wired(**{**w, "registries": tuple(w["registries"])}) for w in document["wired"]),
            )
        except (ValueError, KeyError, TypeError, RecursionError) as e:
            raise StorageError(f"the record of what was wired is damaged: {e}") from None


def _entry_to_dict(entry: Entry) -> dict[str, Any]:
    before = entry.before
    return {
        "path": str(entry.path),
        "owner": entry.owner,
        "before": before and {"sha256": before.sha256, "mode": before.mode, "uid": before.uid, "gid": before.gid},
        "folders": [str(folder) for folder in entry.folders],
        "written": list(entry.written),
    }


def _entry_from_dict(value: dict[str, Any]) -> Entry:
    return Entry(
        path=PurePosixPath(value["path"]),
        owner=value["owner"],
        before=Before(**value["before"]) if value["before"] else None,
        folders=tuple(map(PurePosixPath, value["folders"])),
        written=tuple(value["written"]),
    )
