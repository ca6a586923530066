"""The user's own store: an OCI layout with recipes, names, the digest memo, and garbage collection.

Any number of processes work in it at once. Whoever adds or reads content holds the folder `blobs` locked shared; a
collection holds it exclusively, so it never removes what is about to be named, and a killed process holds nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from modelcar.errors import ModelcarError, StorageError
from modelcar.oci import Descriptor, Digest
from modelcar.store.attachments import Attachments
from modelcar.store.disk import lock
from modelcar.store.layout import OciLayout
from modelcar.store.memo import DigestMemo
from modelcar.store.names import Names
from modelcar.store.spool import sweep_spool
from modelcar.store.tree import walk

__all__ = ["Collection", "LocalStore", "default_home"]


def default_home(environment: Mapping[str, str] = os.environ) -> Path:
    """`$MODELCAR_HOME`, else `$XDG_DATA_HOME/modelcar`, else `~/.local/share/modelcar`."""
    if home := environment.get("MODELCAR_HOME"):
        return Path(home)
    data = environment.get("XDG_DATA_HOME")
    try:
        return (Path(data) if data else Path.home() / ".local" / "share") / "modelcar"
    except RuntimeError:
        raise StorageError("there is no home folder to keep the local store in", hint="set MODELCAR_HOME") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """What a collection removed: blobs and recipes, and the disk space in bytes that this and `leftovers`, what killed
    commands had left, freed."""

    removed: tuple[Digest, ...]
    freed: int
    leftovers: int = 0


class LocalStore:
    """Images by name under one home folder, which is created when it is first used."""

    def __init__(self, home: str | os.PathLike[str]) -> None:
        self.home = Path(home)
        self.content = OciLayout(self.home / "store", recipes=True)
        self.names = Names(self.content)

    @property
    def memo(self) -> DigestMemo:
        return DigestMemo(self.home / "memo" / "layers.sqlite")

    @property
    def registries(self) -> Path:
        """The folder for what is remembered of registries, and of uploads that are under way."""
        return self.home / "registries"

    @property
    def spool(self) -> Path:
        """The folder for what passes through; see `modelcar.store.spool`."""
        return self.home / "spool"

    @contextmanager
    def session(self) -> Iterator[None]:
        """Keep collections out while content is added, named or read."""
        with lock(self.content.root / "blobs", exclusive=False):
            yield

    @property
    def is_busy(self) -> bool:
        """Whether a collection would have to wait for somebody now."""
        try:
            with lock(self.content.root / "blobs", exclusive=True, blocking=False):
                return False
        except StorageError:
            return True

    def collect(self, *, wait: bool = True, dry_run: bool = False) -> Collection:
        """Remove everything that no name reaches, and what dead writers left; or only say what that would be.

        Raises:
            StorageError: someone is using the store and `wait` is off, or an image in it is damaged; nothing is
                removed then, because what a damaged image reaches is not known.
        """
        with (
            lock(self.content.root / "blobs", exclusive=True, blocking=wait),
            self.names.locked(),  # nobody's edit is halfway, so what looks like a leftover is one
        ):
            reachable: set[Digest] = set()
            for entry in self.names.images():
                reachable.update(self._reach(entry))
            reachable |= Attachments(self.content).collect(reachable, dry_run=dry_run)
            leftovers = self.content.sweep_ingest(dry_run=dry_run) + sweep_spool(self.spool, dry_run=dry_run)
            freed = leftovers
            removed = []
            for digest in list(self.content.digests()):
                if digest not in reachable:
                    path = self.content.path(digest)
                    freed += path.stat().st_blocks * 512 if path.exists() else 0
                    if not dry_run:
                        self.content.delete(digest)
                    removed.append(digest)
        return Collection(removed=tuple(removed), freed=freed, leftovers=leftovers)

    def _reach(self, entry: Descriptor) -> set[Digest]:
        try:
            return {d.digest for d in walk(self.content, entry)}
        except ModelcarError as e:
            raise StorageError(
                f"cannot collect: {entry.digest} is damaged ({e})", hint="remove that image with `modelcar rm` first"
            ) from None
