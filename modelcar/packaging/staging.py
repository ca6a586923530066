"""Where a pull gathers a model's files until all are there, and where the next one goes on if it ends before.

`.<name>.modelcar-pull` beside the target, or `.modelcar-pull` in it where it cannot be replaced by a rename (another
kind of work has its own word there):

- `files/`: what will be the target's content;
- `image.json`: which image, and the boot of this machine: page cache that a crash may have lost is not trusted;
- `done/<algorithm>-<hex>`: a layer whose files are complete and were verified, their paths with a NUL behind each;
- `parts/<algorithm>-<hex>/`: what has come of a layer that arrives in chunks, see docs/formats/partial-blobs.md;
- `publishing`: only where files have to be moved one by one, from the moment when all are verified.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelcar.errors import StorageError, UsageError, WorldError
from modelcar.oci import Digest
from modelcar.store.disk import explain

__all__ = ["Staging", "open_staging"]

_OF_THE_FILE_SYSTEM: Final = "lost+found"  # at the top of a fresh ext4 volume
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Staging:
    """An open staging folder; nobody else works in it."""

    folder: Path

    @property
    def files(self) -> Path:
        return self.folder / "files"

    def paths_of(self, layer: Digest) -> list[str] | None:
        """The paths that a finished layer brought, or `None` where it is not finished."""
        try:
            content = self._marker(layer).read_bytes()
        except FileNotFoundError:
            return None
        return [os.fsdecode(path) for path in content.split(b"\0")[:-1]]

    def finish(self, layer: Digest, paths: Iterable[str]) -> None:
        """Note that a layer's files are complete and verified."""
        marker = self._marker(layer)
        temporary = marker.with_suffix(".new")
        temporary.write_bytes(b"".join(os.fsencode(path) + b"\0" for path in paths))
        temporary.rename(marker)

    def partial(self, layer: Digest) -> Path:
        """Where what has come of an unfinished layer is remembered; its bytes may lie under `files` already."""
        return self.folder / "parts" / f"{layer.algorithm}-{layer.hex}"

    @property
    def has_something(self) -> bool:
        """Whether the next call saves anything by what is here."""
        return any(place.is_dir() and any(place.iterdir()) for place in (self.folder / "done", self.folder / "parts"))

    def start_over(self) -> None:
        """Forget what is there of this image."""
        self.restart((self.folder / "image.json").read_text())

    def restart(self, state: str) -> None:
        """Forget everything, and begin for the image that `state` names."""
        for name in ("image.json", "publishing"):  # first, so that a crash in between leaves nothing to go on from
            (self.folder / name).unlink(missing_ok=True)
        for name in ("done", "files", "parts"):
            with suppress(FileNotFoundError):
                shutil.rmtree(self.folder / name)
            (self.folder / name).mkdir(mode=0o755)
        (self.folder / "image.json").write_text(state)

    def _marker(self, layer: Digest) -> Path:
        return self.folder / "done" / f"{layer.algorithm}-{layer.hex}"


@contextmanager
def open_staging(target: Path, image: Digest, *, work: str = "pull") -> Iterator[Staging]:
    """A folder that becomes `target` if the block succeeds. `image` is the digest of the manifest that is unpacked, or
    of whatever else says what the content will be; `work` a word for what is done.

    If the block fails because of the world (network, disk, Ctrl-C), finished layers stay for the next call with the
    same image; if the image is to blame, nothing stays.

    Raises:
        UsageError: `target` is not a folder, or has something in it.
        StorageError: it cannot be written, or another pull works on it.
    """
    target = Path(os.path.abspath(target))  # noqa: PTH100  # resolve() would follow a link that is refused below
    if target.is_symlink():
        raise UsageError(f"{target} is a link", hint=f"name the folder itself: {target.resolve()}")
    if target.exists() and not target.is_dir():
        raise UsageError(f"{target} is not a folder")
    inside = target.exists() and _has_to_stay(target)
    name = f".modelcar-{work}"
    folder = target / name if inside else target.with_name(f".{target.name}{name}")
    try:
        with _locked(folder, work) as staging:
            if (folder / "publishing").exists():
                _move(staging.files, target)
            if not _is_empty(target, besides=folder):
                _drop(folder)
                raise UsageError(f"{target} is not empty", hint="name a folder that is empty or does not exist yet")
            _prepare(staging, image)
            with _kept_for_the_next_try(staging, target):
                yield staging
            _publish(staging, target, inside=inside)
    except OSError as e:
        raise explain(e, f"cannot write to {target}") from None


def _has_to_stay(target: Path) -> bool:
    """Whether the folder `target` cannot give way to another one."""
    with suppress(OSError):
        if target.samefile(Path.cwd()):
            return True  # whoever stands in it would be left in a folder that is gone
    # A mount point is another file system, where a rename from beside it would be a copy.
    return os.path.ismount(target) or not os.access(target.parent, os.W_OK | os.X_OK)


def _is_empty(target: Path, *, besides: Path) -> bool:
    if not target.exists():
        return True
    ignored = {besides, target / _OF_THE_FILE_SYSTEM} if os.path.ismount(target) else {besides}
    return set(target.iterdir()) <= ignored


def _prepare(staging: Staging, image: Digest) -> None:
    state = json.dumps({"image": str(image), "boot": _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""})
    try:
        known = (staging.folder / "image.json").read_text()
    except FileNotFoundError:
        known = ""
    if known != state:
        staging.restart(state)


@contextmanager
def _kept_for_the_next_try(staging: Staging, target: Path) -> Iterator[None]:
    try:
        yield
    except (WorldError, OSError) as e:
        error = e if isinstance(e, WorldError) else explain(e, f"cannot write to {target}")
        if not staging.has_something:
            _drop(staging.folder)
        else:
            more = f"what has come is kept in {staging.folder}: the same command goes on from there"
            error.hint = f"{error.hint}; {more}" if error.hint else more
        raise error from None
    except Exception:
        _drop(staging.folder)
        raise
    except BaseException:  # Ctrl-C
        if not staging.has_something:
            _drop(staging.folder)
        raise


def _publish(staging: Staging, target: Path, *, inside: bool) -> None:
    try:
        if inside:
            (staging.folder / "publishing").touch()
            _move(staging.files, target)
        else:
            if target.exists():
                _look_alike(staging.files, target.stat())
            staging.files.rename(target)
        _drop(staging.folder)
    except BaseException:  # Ctrl-C when all is published already
        if not staging.files.exists() or not any(staging.files.iterdir()):
            _drop(staging.folder)
        raise


def _look_alike(folder: Path, other: os.stat_result) -> None:
    """Give `folder` the owner and mode of the one that it replaces."""
    with suppress(PermissionError):
        os.chown(folder, other.st_uid, other.st_gid)
    folder.chmod(stat.S_IMODE(other.st_mode))


def _move(files: Path, target: Path) -> None:
    for path in sorted(files.iterdir()):
        path.rename(target / path.name)


def _drop(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path, work: str) -> Iterator[Staging]:
    """Create the folder if need be and lock it; another one may remove it between the two."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        try:
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StorageError(f"another {work} works in {folder}", hint="wait until it is done") from None
            if not _is_same(fd, folder):
                continue
            found = os.fstat(fd)
            if found.st_uid != os.geteuid():
                raise StorageError(f"{folder} belongs to someone else", hint="remove it, or choose another folder")
            if stat.S_IMODE(found.st_mode) & 0o022:  # as all of an NTFS or FAT volume may be
                hint = "remove it; or mount the volume with umask=022, or choose another folder"
                raise StorageError(f"others may write to {folder}, who could change what was verified", hint=hint)
            yield Staging(folder)
            return
        finally:
            os.close(fd)


def _is_same(fd: int, folder: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), folder.lstat())
    except FileNotFoundError:
        return False
