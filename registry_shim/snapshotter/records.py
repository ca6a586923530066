"""The snapshots there are: one row each, in a database that a crash leaves as it was before or after a step.

Names are containerd's: it puts namespace and a number before its own, so that they are unique on the node. A row may be
of a *lazy* layer: then it says which, and the snapshot was committed when it was made.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Self

from modelcar.errors import AlreadyExists, NotFound, Refused, StorageError, UsageError
from modelcar.oci import Digest

__all__ = ["Kind", "LazyLayer", "ModelImage", "Records", "Snapshot", "Usage"]

_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE snapshots (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE,
  parent INTEGER REFERENCES snapshots (id),
  kind TEXT NOT NULL,
  created INTEGER NOT NULL,
  updated INTEGER NOT NULL,
  labels TEXT NOT NULL,
  size INTEGER NOT NULL DEFAULT 0,
  inodes INTEGER NOT NULL DEFAULT 0,
  image INTEGER REFERENCES images (id),
  layer TEXT,
  target TEXT
);
CREATE INDEX children ON snapshots (parent);
CREATE TABLE images (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  reference TEXT NOT NULL,
  manifest TEXT NOT NULL UNIQUE
);
"""
_COLUMNS: Final = """s.id, s.name, p.name, s.kind, s.created, s.updated, s.labels, s.size, s.inodes, s.layer,
  i.id, i.reference, i.manifest"""
_FROM: Final = "FROM snapshots s LEFT JOIN snapshots p ON p.id = s.parent LEFT JOIN images i ON i.id = s.image"


class Kind(StrEnum):
    VIEW = "view"
    ACTIVE = "active"
    COMMITTED = "committed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelImage:
    """An image that lazy layers belong to. `number` is the node's own for it; `manifest` the digest of its manifest."""

    number: int = 0
    reference: str
    manifest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class LazyLayer:
    """A layer whose files are mounted and not unpacked."""

    image: ModelImage
    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a snapshot takes of the disk, in bytes and inodes."""

    size: int = 0
    inodes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """`number` names its folder; times are nanoseconds since the epoch; `parent` is empty for the lowest layer."""

    number: int
    name: str
    parent: str
    kind: Kind
    created: int
    updated: int
    labels: Mapping[str, str]
    usage: Usage
    lazy: LazyLayer | None


class Records:
    """Safe to use from several threads; one process has it open. Every change is on the disk when a method returns, or
    when the block of `changing` ends.
    """

    def __init__(self, path: Path) -> None:
        """Open the database, or make it.

        Raises:
            StorageError: it cannot be, or is of a later version of this program.
        """
        self._path = path
        self._lock = threading.RLock()
        self._database: sqlite3.Connection | None = None
        try:
            with self._explained():
                database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
                self._database = database
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("PRAGMA synchronous = FULL")
                database.execute("PRAGMA foreign_keys = ON")
            self._migrate()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """All that is done within happens together, or not at all; nobody else changes anything meanwhile."""
        with self._lock, self._explained():
            self._run("BEGIN IMMEDIATE")
            try:
                yield
                self._run("COMMIT")
            except BaseException:
                if self._database is not None and self._database.in_transaction:
                    self._run("ROLLBACK")
                raise

    def get(self, name: str) -> Snapshot:
        """Raises `NotFound`."""
        found = self._select("WHERE s.name = ?", name)
        if not found:
            raise NotFound(f"snapshot {name} does not exist")
        return found[0]

    def all(self) -> tuple[Snapshot, ...]:
        """Parents before their children."""
        return self._select("ORDER BY s.id")

    def chain(self, name: str) -> tuple[Snapshot, ...]:
        """A snapshot and those below it, the highest first. An empty name is an empty chain."""
        with self._lock:
            found: list[Snapshot] = []
            while name:
                found.append(self.get(name))
                name = found[-1].parent
            return tuple(found)

    def find_lazy(self, target: str, parent: str) -> Snapshot | None:
        """The lazy snapshot that was made for `target`, a chain id, above `parent`."""
        found = self._select("WHERE s.target = ? AND ifnull(p.name, '') = ?", target, parent)
        return found[0] if found else None

    def add(self, name: str, parent: str, kind: Kind, labels: Mapping[str, str]) -> Snapshot:
        """A new one that is active, or a view.

        Raises:
            AlreadyExists: the name is in use.
            NotFound: the parent does not exist.
            Refused: the parent is not committed.
        """
        with self._lock:
            self._insert(name, self._parent_number(parent), kind, labels)
            return self.get(name)

    def add_lazy(self, target: str, parent: str, labels: Mapping[str, str], layer: LazyLayer) -> Snapshot:
        """Within `changing`: a committed snapshot of a lazy layer, named by us.

        Raises:
            NotFound: the parent does not exist.
            Refused: the parent is not committed.
        """
        with self._lock:
            image = self._image_number(layer.image)
            number = self._insert(f"lazy/new {target}", self._parent_number(parent), Kind.COMMITTED, labels)
            self._rows(
                "UPDATE snapshots SET name = ?, image = ?, layer = ?, target = ? WHERE id = ?",
                (own := f"lazy/{number}/{target}", image, str(layer.digest), target, number),
            )
            return self.get(own)

    def commit(self, key: str, name: str, labels: Mapping[str, str], usage: Usage, *, parent: str = "") -> None:
        """Make an active snapshot a committed one, with another name and these labels only.

        Raises:
            AlreadyExists: the name is in use.
            NotFound: there is no such snapshot.
            Refused: it is not active, or `parent` is not its own.
        """
        now = time.time_ns()
        with self._lock:
            found = self.get(key)
            if found.kind is not Kind.ACTIVE:
                raise Refused(f"snapshot {key} is not active")
            if parent and found.parent not in ("", parent):
                raise Refused(f"snapshot {key} has another parent than {parent}")
            self._require_free(name)
            self._rows(
                "UPDATE snapshots SET name = ?, kind = ?, parent = ?, created = ?, updated = ?, labels = ?, size = ?,"
                " inodes = ? WHERE id = ?",
                (
                    name,
                    Kind.COMMITTED,
                    self._parent_number(found.parent or parent),
                    now,
                    now,
                    json.dumps(dict(labels)),
                    usage.size,
                    usage.inodes,
                    found.number,
                ),
            )

    def relabel(self, name: str, labels: Mapping[str, str], paths: Sequence[str]) -> Snapshot:
        """Replace the labels, or those that `paths` name: `labels`, `labels.KEY`; one with an empty value goes.

        Raises:
            NotFound: there is no such snapshot.
            UsageError: a path is another.
        """
        with self._lock:
            new = dict(self.get(name).labels)
            for path in paths or ("labels",):
                field, _, key = path.partition(".")
                if field != "labels":
                    raise UsageError(f"of a snapshot only labels can be changed, and not {path}")
                new = {**new, key: labels.get(key, "")} if key else dict(labels)
            new = {key: value for key, value in new.items() if value}
            self._rows(
                "UPDATE snapshots SET labels = ?, updated = ? WHERE name = ?", (json.dumps(new), time.time_ns(), name)
            )
            return self.get(name)

    def remove(self, name: str) -> None:
        """Forget it, and its image if it was the last of it.

        Raises:
            NotFound: there is no such snapshot.
            Refused: others stand on it.
        """
        with self._lock:
            found = self.get(name)
            if self._rows("SELECT 1 FROM snapshots WHERE parent = ? LIMIT 1", (found.number,)):
                raise Refused(f"snapshot {name} has children")
            self._rows("DELETE FROM snapshots WHERE id = ?", (found.number,))
            self._rows("DELETE FROM images WHERE NOT EXISTS (SELECT 1 FROM snapshots WHERE image = images.id)")

    def numbers(self) -> frozenset[int]:
        """Of all snapshots that have a folder."""
        return frozenset(row[0] for row in self._rows("SELECT id FROM snapshots WHERE layer IS NULL"))

    def images(self) -> tuple[ModelImage, ...]:
        """Those that a lazy layer belongs to."""
        return tuple(map(_image, self._rows("SELECT id, reference, manifest FROM images ORDER BY id")))

    def _insert(self, name: str, parent: int | None, kind: Kind, labels: Mapping[str, str]) -> int:
        self._require_free(name)
        now = time.time_ns()
        with self._explained():
            done = self._run(
                "INSERT INTO snapshots (name, parent, kind, created, updated, labels) VALUES (?, ?, ?, ?, ?, ?)",
                (name, parent, kind, now, now, json.dumps(dict(labels))),
            )
        return int(done.lastrowid or 0)

    def _require_free(self, name: str) -> None:
        if self._rows("SELECT 1 FROM snapshots WHERE name = ?", (name,)):
            raise AlreadyExists(f"snapshot {name} exists already")

    def _parent_number(self, name: str) -> int | None:
        if not name:
            return None
        parent = self.get(name)
        if parent.kind is not Kind.COMMITTED:
            raise Refused(f"snapshot {name} is not committed, and cannot be a parent")
        return parent.number

    def _image_number(self, image: ModelImage) -> int:
        """The number of a digest stays; the reference becomes the latest by which it was pulled."""
        self._rows(
            "INSERT INTO images (reference, manifest) VALUES (?, ?)"
            " ON CONFLICT (manifest) DO UPDATE SET reference = excluded.reference",
            (image.reference, str(image.manifest)),
        )
        return int(self._rows("SELECT id FROM images WHERE manifest = ?", (str(image.manifest),))[0][0])

    def _select(self, where: str, *values: str) -> tuple[Snapshot, ...]:
        return tuple(map(_snapshot, self._rows(f"SELECT {_COLUMNS} {_FROM} {where}", values)))

    def _rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock, self._explained():
            return self._run(statement, values).fetchall()

    def _run(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        if self._database is None:
            raise StorageError("the snapshotter is stopping")
        return self._database.execute(statement, values)

    def _migrate(self) -> None:
        with self.changing():
            version = int(self._rows("PRAGMA user_version")[0][0])
            if version > _VERSION:
                raise StorageError(f"{self._path} is of a later version", hint="install that version again")
            if version == 0:
                for statement in _SCHEMA.split(";"):
                    self._run(statement)
                self._run(f"PRAGMA user_version = {_VERSION}")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as e:
            raise StorageError(f"cannot use {self._path}: {e}", hint="is its disk full, or the file damaged?") from None


def _snapshot(row: tuple[Any, ...]) -> Snapshot:
    number, name, parent, kind, created, updated, labels, size, inodes, layer, *image = row
    return Snapshot(
        number=number,
        name=name,
        parent=parent or "",
        kind=Kind(kind),
        created=created,
        updated=updated,
        labels=json.loads(labels),
        usage=Usage(size=size, inodes=inodes),
        lazy=LazyLayer(image=_image(image), digest=Digest.parse(layer)) if layer else None,
    )


def _image(row: Sequence[Any]) -> ModelImage:
    number, reference, manifest = row
    return ModelImage(number=number, reference=reference, manifest=Digest.parse(manifest))
