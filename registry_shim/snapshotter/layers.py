"""Folders of snapshots, and the mounts that make a root file system of them, as containerd's own overlay does it.

`ROOT/snapshots/NUMBER/fs` is what a layer holds, or the upper side of what a container writes (`work` beside it);
`ROOT/images/NUMBER/NAME` what a lazy layer shows, once its image is mounted there.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from modelcar.store.disk import explain, make_dirs
from registry_shim.mounts.layered import folder_name
from registry_shim.snapshotter.messages import Mount
from registry_shim.snapshotter.records import Kind, LazyLayer, ModelImage, Snapshot, Usage

__all__ = ["Layers"]

_REMOVED: Final = "removed-"
_NEW: Final = "new-"


class Layers:
    """The folders below `root`."""

    def __init__(self, root: Path, options: Sequence[str] = ()) -> None:
        """`options` go to every overlay mount."""
        self._snapshots = root / "snapshots"
        self._images = root / "images"
        self._options = tuple(options)
        for folder in (self._snapshots, self._images):
            make_dirs(folder)

    def create(self, snapshot: Snapshot, parent: Snapshot | None) -> None:
        """The folder of a new snapshot; what a killed predecessor may have left under its number goes.

        Raises:
            StorageError: the disk does not want to.
        """
        new = self._snapshots / f"{_NEW}{secrets.token_hex(6)}"
        try:
            (new / "fs").mkdir(parents=True)
            (new / "fs").chmod(0o755)  # it becomes the root folder of containers, whatever our umask
            if snapshot.kind is Kind.ACTIVE:
                (new / "work").mkdir()
            if parent is not None and parent.lazy is None:
                owner = self._content(parent).stat()
                os.chown(new / "fs", owner.st_uid, owner.st_gid)
            place = self._snapshots / str(snapshot.number)
            self._set_aside(place)
            new.rename(place)
        except OSError as e:
            shutil.rmtree(new, ignore_errors=True)
            raise explain(e, f"cannot create the folder of snapshot {snapshot.number}") from None

    def usage(self, snapshot: Snapshot) -> Usage:
        """What an active snapshot takes by now. Files that go meanwhile are not counted.

        Raises:
            StorageError: its folder cannot be read.
        """
        blocks, inodes = 0, set[tuple[int, int]]()
        waiting = [self._content(snapshot)]
        try:
            while waiting:
                with os.scandir(waiting.pop()) as found:
                    for entry in found:
                        with suppress(FileNotFoundError):
                            status = entry.stat(follow_symlinks=False)
                            if (key := (status.st_dev, status.st_ino)) not in inodes:
                                inodes.add(key)
                                blocks += status.st_blocks
                            if entry.is_dir(follow_symlinks=False):
                                waiting.append(Path(entry.path))
        except OSError as e:
            raise explain(e, f"cannot read the folder of snapshot {snapshot.number}") from None
        return Usage(size=blocks * 512, inodes=len(inodes))

    def mounts(self, snapshot: Snapshot, parents: Sequence[Snapshot]) -> tuple[Mount, ...]:
        """What makes the root file system of an active snapshot, or a view; `parents` are those below it, highest
        first."""
        is_view = snapshot.kind is Kind.VIEW
        if not parents:
            return (_bind(self._content(snapshot), read_only=is_view),)
        if is_view and len(parents) == 1:
            return (_bind(self._content(parents[0]), read_only=True),)
        options = []
        if not is_view:
            work = self._snapshots / str(snapshot.number) / "work"
            options += [f"workdir={work}", f"upperdir={self._content(snapshot)}"]
        options.append(f"lowerdir={':'.join(str(self._content(parent)) for parent in parents)}")
        return (Mount(type="overlay", source="overlay", options=(*options, *self._options)),)

    def mount_point(self, image: ModelImage) -> Path:
        """Where an image's lazy layers are mounted."""
        return self._images / str(image.number)

    def prepare_image(self, image: ModelImage, layers: Iterable[LazyLayer]) -> None:
        """Folders for what is to be mounted: containerd may look at them before that.

        Raises:
            StorageError: the disk does not want to.
        """
        make_dirs(self.mount_point(image))
        for layer in layers:
            with suppress(OSError):  # it is mounted, and has them
                self.lazy_folder(layer).mkdir(exist_ok=True)

    def lazy_folder(self, layer: LazyLayer) -> Path:
        """What a lazy layer shows."""
        return self.mount_point(layer.image) / folder_name(layer.digest)

    def set_stale_aside(self, numbers: frozenset[int]) -> None:
        """Take the folders of all other snapshots out of the way, for `sweep`. Nobody creates one meanwhile.

        Raises:
            StorageError: the disk does not want to.
        """
        for path in self._snapshots.iterdir():
            if not (path.name.isdigit() and int(path.name) in numbers) and not path.name.startswith(_REMOVED):
                self._set_aside(path)

    def sweep(self) -> None:
        """Remove what was set aside. What cannot be removed yet is tried again the next time."""
        for path in self._snapshots.glob(f"{_REMOVED}*"):
            shutil.rmtree(path, ignore_errors=True)

    def stale_images(self, images: Iterable[ModelImage]) -> tuple[Path, ...]:
        """The mount points of all other images."""
        wanted = {str(image.number) for image in images}
        return tuple(path for path in self._images.iterdir() if path.name not in wanted)

    def _content(self, snapshot: Snapshot) -> Path:
        if snapshot.lazy is not None:
            return self.lazy_folder(snapshot.lazy)
        return self._snapshots / str(snapshot.number) / "fs"

    def _set_aside(self, path: Path) -> None:
        try:
            path.rename(self._snapshots / f"{_REMOVED}{secrets.token_hex(6)}")
        except FileNotFoundError:
            return
        except OSError as e:
            raise explain(e, f"cannot set {path} aside") from None


def _bind(source: Path, *, read_only: bool) -> Mount:
    return Mount(type="bind", source=str(source), options=("ro" if read_only else "rw", "rbind"))
