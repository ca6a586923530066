"""Files of other programs, written so that all of it can be taken back.

`STATE/manifest.json` says what was written where and what was there before; `STATE/before/` has that content. A step is
recorded before it is taken, so a run that is killed in between can be repeated or taken back.
"""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Final

from modelcar.errors import Refused, StorageError
from modelcar.store.disk import atomic_write, explain, fsync_dir, lock, make_dirs
from registry_shim.engines.files import PlannedFile
from registry_shim.engines.manifest import Before, Entry, Manifest, Wired

__all__ = ["STATE", "Action", "Change", "Installer"]

STATE: Final = PurePosixPath("/var/lib/modelcar-wiring")
_MODE: Final = 0o644


class Action(StrEnum):
    WRITE = "write"
    REPLACE = "replace"
    RESTORE = "restore"
    REMOVE = "remove"
    NOTHING = "unchanged"
    CHANGED = "changed by someone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What happens, or would happen, to one file. `after` is `None` where it will be gone."""

    path: PurePosixPath
    owner: str
    action: Action
    before: bytes | None
    after: bytes | None

    @property
    def diff(self) -> str:
        """In the unified format; empty if nothing changes."""
        old, new = ((c or b"").decode(errors="replace").splitlines(keepends=True) for c in (self.before, self.after))
        old_name, new_name = ("/dev/null" if c is None else str(self.path) for c in (self.before, self.after))
        return "".join(difflib.unified_diff(old, new, old_name, new_name))


class Installer:
    """Writes below `root`, which is `/` or where a node's file system is mounted."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._state = self._at(STATE)

    def manifest(self) -> Manifest:
        """What is installed.

        Raises:
            StorageError: its record cannot be read.
        """
        try:
            return Manifest.parse((self._state / "manifest.json").read_bytes())
        except FileNotFoundError:
            return Manifest()
        except OSError as e:
            raise explain(e, f"cannot read {self._state}/manifest.json") from None

    def original(self, path: PurePosixPath) -> bytes | None:
        """What was there before us, or is there now if we have not been there; `None` for nothing."""
        entry = self.manifest().find(path)
        if entry is None:
            return self._read(path)
        return self._before(entry)

    def plan(self, wanted: Sequence[PlannedFile], *, owners: frozenset[str]) -> tuple[Change, ...]:
        """What `install` would do: bring about `wanted`, and take back what `owners` no longer want."""
        manifest = self.manifest()
        paths = {file.path for file in wanted}
        stale = [entry for entry in manifest.entries if entry.owner in owners and entry.path not in paths]
        return (*(self._install_change(file, manifest) for file in wanted), *map(self._removal, reversed(stale)))

    def install(self, wanted: Sequence[PlannedFile], *, wired: Sequence[Wired]) -> tuple[Change, ...]:
        """Do it for the owners in `wired`; returns what was done.

        Raises:
            Refused: a person changed a file since we wrote it. Nothing is written then.
            StorageError: the disk does not want to. Run it again, or take it back.
        """
        with self._locked():
            changes = self.plan(wanted, owners=frozenset(w.owner for w in wired))
            self._refuse_changed(changes)
            manifest = self.manifest().wiring(wired)
            self._save(manifest)
            for change in changes:
                manifest = self._carry_out(change, manifest)
            return changes

    def removal(self, *, owners: frozenset[str] | None = None) -> tuple[Change, ...]:
        """What `uninstall` would do."""
        entries = reversed(self.manifest().entries)
        return tuple(self._removal(entry) for entry in entries if owners is None or entry.owner in owners)

    def uninstall(self, *, owners: frozenset[str] | None = None) -> tuple[Change, ...]:
        """Take back what `owners` (all, unless some are named) wanted. What a person changed since stays as it is, and
        on record.

        Raises:
            StorageError: the disk does not want to.
        """
        with self._locked():
            manifest, changes = self.manifest(), self.removal(owners=owners)
            for change in changes:
                if change.action is not Action.CHANGED:
                    manifest = self._carry_out(change, manifest)
            if not manifest.entries:
                self._forget()
            return changes

    def drifted(self) -> Iterator[tuple[Entry, str]]:
        """Files that are not as we left them, and what is wrong with each, in words."""
        for entry in self.manifest().entries:
            content = self._read(entry.path)
            if content is None:
                yield entry, "it is gone"
            elif _sha256(content) != entry.written[-1]:
                yield entry, "someone changed it"

    def _install_change(self, file: PlannedFile, manifest: Manifest) -> Change:
        current, entry = self._read(file.path), manifest.find(file.path)
        if current == file.content and entry is not None:
            action = Action.NOTHING
        elif entry is not None and not self._is_ours(entry, current):
            action = Action.CHANGED
        else:
            action = Action.WRITE if current is None else Action.REPLACE
        return Change(path=file.path, owner=file.owner, action=action, before=current, after=file.content)

    def _removal(self, entry: Entry) -> Change:
        current, before = self._read(entry.path), self._before(entry)
        if not self._is_ours(entry, current):
            return Change(path=entry.path, owner=entry.owner, action=Action.CHANGED, before=current, after=current)
        action = Action.REMOVE if before is None else Action.RESTORE
        return Change(path=entry.path, owner=entry.owner, action=action, before=current, after=before)

    def _is_ours(self, entry: Entry, current: bytes | None) -> bool:
        """Whether nobody else has written there: it is what we wrote, or (a run was killed) what was there before."""
        if current is None:
            return True
        before = entry.before.sha256 if entry.before else None
        return _sha256(current) in (*entry.written, before)

    def _refuse_changed(self, changes: Sequence[Change]) -> None:
        changed = [str(change.path) for change in changes if change.action is Action.CHANGED]
        if changed:
            raise Refused(
                f"{', '.join(changed)} was changed since it was written, and is left as it is",
                hint="undo the change (--dry-run shows it), or move the file away, and run it again",
            )

    def _carry_out(self, change: Change, manifest: Manifest) -> Manifest:
        if change.action is Action.NOTHING:
            return manifest
        if change.action in (Action.WRITE, Action.REPLACE):
            return self._write(change, manifest)
        return self._take_back(change.path, manifest)

    def _write(self, change: Change, manifest: Manifest) -> Manifest:
        content = change.after or b""
        entry = manifest.find(change.path)
        if entry is None:
            before = self._keep(change.path, change.before)
            entry = Entry(path=change.path, owner=change.owner, before=before, folders=self._missing(change.path))
        entry = replace(entry, written=(*entry.written, _sha256(content)))
        manifest = manifest.having(entry)
        self._save(manifest)
        target = self._at(change.path)
        make_dirs(target.parent)
        atomic_write(target, content, mode=_MODE)
        _chmod(target, entry.before.mode if entry.before else _MODE)
        manifest = manifest.having(replace(entry, written=(_sha256(content),)))
        self._save(manifest)
        return manifest

    def _take_back(self, path: PurePosixPath, manifest: Manifest) -> Manifest:
        entry = manifest.find(path)
        if entry is None:
            raise StorageError(f"{path} is not on record")
        target, content = self._at(path), self._before(entry)
        try:
            if content is None or entry.before is None:
                target.unlink(missing_ok=True)
                for folder in reversed(entry.folders):  # innermost first; others may have put something in
                    with suppress(OSError):
                        self._at(folder).rmdir()
            else:
                make_dirs(target.parent)
                atomic_write(target, content, mode=entry.before.mode)
                _chmod(target, entry.before.mode)
                os.chown(target, entry.before.uid, entry.before.gid)
        except OSError as e:
            raise explain(e, f"cannot take back {target}") from None
        manifest = manifest.without(path)
        self._save(manifest)
        return manifest

    def _keep(self, path: PurePosixPath, content: bytes | None) -> Before | None:
        if content is None:
            return None
        digest = _sha256(content)
        make_dirs(self._state / "before")
        atomic_write(self._state / "before" / digest, content, mode=0o600)
        found = self._at(path).stat()
        return Before(sha256=digest, mode=found.st_mode & 0o7777, uid=found.st_uid, gid=found.st_gid)

    def _before(self, entry: Entry) -> bytes | None:
        if entry.before is None:
            return None
        kept = self._state / "before" / entry.before.sha256
        try:
            content = kept.read_bytes()
        except OSError as e:
            raise explain(e, f"cannot read {kept}, which was {entry.path}") from None
        if _sha256(content) != entry.before.sha256:
            raise StorageError(f"{kept} is damaged: it was {entry.path}", hint="put that file back yourself")
        return content

    def _missing(self, path: PurePosixPath) -> tuple[PurePosixPath, ...]:
        """The folders on the way that will have to be made, outermost first."""
        return tuple(folder for folder in reversed(path.parents) if not self._at(folder).exists())

    def _read(self, path: PurePosixPath) -> bytes | None:
        target = self._at(path)
        if target.is_symlink() or not target.parent.resolve().is_relative_to(self._root.resolve()):
            raise StorageError(
                f"{target} is a link, or behind one that leaves {self._root}", hint="write to its target"
            )
        try:
            return target.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as e:
            raise explain(e, f"cannot read {target}") from None

    def _save(self, manifest: Manifest) -> None:
        make_dirs(self._state)
        atomic_write(self._state / "manifest.json", manifest.to_bytes(), mode=0o600)

    def _forget(self) -> None:
        try:
            for path in (*(self._state / "before").glob("*"), self._state / "manifest.json"):
                path.unlink(missing_ok=True)
            for folder in (self._state / "before", self._state):
                with suppress(OSError):  # in a pod it is a mount
                    folder.rmdir()
            if self._state.parent.is_dir():
                fsync_dir(self._state.parent)
        except OSError as e:
            raise explain(e, f"cannot remove {self._state}") from None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with lock(self._root, exclusive=True):  # the folder of the state comes and goes
            yield

    def _at(self, path: PurePosixPath) -> Path:
        return self._root / path.relative_to("/")


def _chmod(path: Path, mode: int) -> None:
    try:
        path.chmod(mode)  # whatever the umask says: engines read it as other users
    except OSError as e:
        raise explain(e, f"cannot set the mode of {path}") from None


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
