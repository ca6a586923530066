"""Content on disk: the blobs of an OCI image layout, and recipes beside them for blobs that were never written.

Source: OCI image specification 1.1, image-layout.md.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from modelcar.errors import DigestMismatch, InvalidDigest, NotFound, SizeMismatch, StorageError
from modelcar.layers.bytemap import ByteMap, ByteReader
from modelcar.oci import Digest
from modelcar.store.disk import atomic_write, copy_into, explain, fsync_dir, lock, make_dirs
from modelcar.store.recipes import dump_recipe, load_recipe

__all__ = ["MARKER", "OciLayout"]

MARKER: Final = b'{"imageLayoutVersion":"1.0.0"}'
_MAX_INDEX: Final = 64 << 20  # bytes; an entry has a few hundred
_EMPTY_INDEX = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'


class OciLayout:
    """`Layout` in a folder. Any number of threads and processes may use it at once.

    `root/blobs/<algorithm>/<hex>` are blobs, `root/ingest/` holds what is being written, and with `recipes` (the
    user's own store only) `root/recipes/<algorithm>/<hex>.json` stand for virtual blobs, and `root/elsewhere/…` say of
    blobs that went through this machine where they are.
    """

    def __init__(self, root: Path, *, recipes: bool = False, create: bool = True) -> None:
        self.root = root
        self.has_recipes = recipes
        if _stat(root / "oci-layout") is None:
            if not create:
                raise NotFound(f"{root} is not an OCI image layout: it has no file oci-layout")
            self._create()

    def _create(self) -> None:
        blobs = self.root / "blobs" / "sha256"
        make_dirs(blobs)
        # Locked, so that whoever comes second does not empty the index that the first has begun to fill. A folder that
        # nothing else locks: the layout's own may be held by whoever opens it, the embedded registry for one.
        with lock(blobs, exclusive=True):
            for name, content in (("index.json", _EMPTY_INDEX), ("oci-layout", MARKER)):
                if _stat(self.root / name) is None:
                    atomic_write(self.root / name, content)

    @property
    def location(self) -> str:
        return f"oci:{self.root}"

    def read_index(self) -> bytes:
        path = self.root / "index.json"
        try:
            with open(path, "rb", opener=_without_waiting) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # a device or a pipe may have no end
                    raise StorageError(f"{path} is not a file")
                content = file.read(_MAX_INDEX + 1)
        except FileNotFoundError:
            raise NotFound(f"{self.root} is not an OCI image layout: it has no file index.json") from None
        except OSError as e:
            raise explain(e, f"cannot read {path}") from None
        if len(content) > _MAX_INDEX:
            raise StorageError(f"{path} has more than {_MAX_INDEX >> 20} MiB: no index of images is as large")
        return content

    def write_index(self, content: bytes) -> None:
        atomic_write(self.root / "index.json", content)

    def locked(self) -> AbstractContextManager[None]:
        """The marker file is locked because index.json itself is replaced by every edit."""
        return lock(self.root / "oci-layout", exclusive=True)

    def path(self, digest: Digest) -> Path:
        """Where the blob of this digest lies, or would."""
        return self.root / "blobs" / digest.algorithm / digest.hex

    def recipe_path(self, digest: Digest) -> Path:
        return self.root / "recipes" / digest.algorithm / f"{digest.hex}.json"

    def __contains__(self, digest: Digest) -> bool:
        return _stat(self.path(digest)) is not None or self.is_virtual(digest)

    def is_virtual(self, digest: Digest) -> bool:
        """Whether this blob is a recipe and not a file of its own."""
        return self.has_recipes and _stat(self.recipe_path(digest)) is not None and _stat(self.path(digest)) is None

    def size(self, digest: Digest) -> int:
        return self.map(digest).size

    def map(self, digest: Digest) -> ByteMap:
        path = self.path(digest)
        if (st := _stat(path)) is not None:
            return ByteMap.of_file(path, st.st_size)
        if self.has_recipes:
            recipe = self.recipe_path(digest)
            try:
                return load_recipe(recipe.read_bytes(), digest)
            except FileNotFoundError:
                pass
            except OSError as e:
                raise explain(e, f"cannot read {recipe}") from None
        if (place := self.elsewhere(digest)) is not None:
            raise NotFound(
                f"{digest} is not on this machine: it is in {place}",
                hint="`modelcar copy` and `pull` take an image from where it was pushed; --no-cache keeps none here",
            )
        raise NotFound(f"{digest} is not in {self.root}")

    def open(self, digest: Digest, offset: int = 0, length: int | None = None) -> ByteReader:
        return self.map(digest).open(offset, length)

    def begin(self, expected: Digest | None = None) -> _DiskWriter:
        return _DiskWriter(self, expected)

    def add_recipe(self, digest: Digest, content: ByteMap) -> None:
        """Add a virtual blob. `digest` is taken on trust: it must come from hashing `content`, stamps included."""
        if not self.has_recipes:
            raise StorageError(f"{self.root} takes no recipes")
        path = self.recipe_path(digest)
        recipe = dump_recipe(digest, content)
        with suppress(OSError):
            if path.read_bytes() == recipe:
                return
        make_dirs(path.parent)
        atomic_write(path, recipe)

    def note_elsewhere(self, digest: Digest, place: str) -> None:
        """Note that a blob is at `place` and not here, for whoever asks for it."""
        if digest not in self:
            path = self._elsewhere_path(digest)
            make_dirs(path.parent)
            atomic_write(path, place.encode())

    def materialise(self, digest: Digest, content: ByteMap, *, advance: Callable[[int], None] = lambda _: None) -> None:
        """Write a blob out as a file, by reflink where that is possible; virtual blobs are checked for changes.

        The bytes are not hashed again: a stamp that still fits, or a content store, vouches for them.
        """
        if _stat(self.path(digest)) is not None:
            return
        with self.begin(digest) as writer, content.open() as reader:
            writer.take(reader, content.size, advance)

    def adopt(self, path: Path, digest: Digest) -> None:
        """Take a file of the same file system as the blob `digest`, which the caller has found its content to be.

        What is open of it stays open. Raises `StorageError`; then the file is where it was.
        """
        target = self.path(digest)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
            make_dirs(target.parent)
            path.rename(target)
            fsync_dir(target.parent)
        except OSError as e:
            raise explain(e, f"cannot write {target}") from None

    def _elsewhere_path(self, digest: Digest) -> Path:
        return self.root / "elsewhere" / digest.algorithm / digest.hex

    def elsewhere(self, digest: Digest) -> str | None:
        """Where a blob is that is not here (`note_elsewhere`), or `None` if nobody has said so."""
        if not self.has_recipes:
            return None
        try:
            return self._elsewhere_path(digest).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None
        except OSError as e:
            raise explain(e, f"cannot read {self._elsewhere_path(digest)}") from None

    def delete(self, digest: Digest) -> None:
        removed = False
        for path in (self.path(digest), self.recipe_path(digest), self._elsewhere_path(digest)):
            try:
                path.unlink()
                removed = True
            except FileNotFoundError:
                pass
            except OSError as e:
                raise explain(e, f"cannot remove {path}") from None
        if not removed:
            raise NotFound(f"{digest} is not in {self.root}")

    def digests(self) -> Iterator[Digest]:
        """Everything that is here, each digest once."""
        seen = set()
        for folder in ("blobs", "recipes", "elsewhere"):
            for path in sorted((self.root / folder).glob("*/*")):
                with suppress(InvalidDigest):
                    digest = Digest(path.parent.name, path.name.removesuffix(".json"))
                    if digest not in seen:
                        seen.add(digest)
                        yield digest

    def sweep_ingest(self, *, dry_run: bool = False) -> int:
        """Remove what dead writers left behind and return how many bytes that frees. Nobody may be writing."""
        freed = 0
        leftovers = [*(self.root / "ingest").glob("*"), *self.root.glob(".*.????????????")]
        leftovers += self.root.glob("recipes/*/.*.json.????????????")
        for path in leftovers:
            with suppress(FileNotFoundError):
                # a blob that arrives in chunks is a folder; what links lead to is nobody's business here
                is_folder = path.is_dir() and not path.is_symlink()
                files = [path, *path.glob("*")] if is_folder else [path]
                freed += sum(file.lstat().st_blocks * 512 for file in files)
                if not dry_run:
                    shutil.rmtree(path) if is_folder else path.unlink()
        return freed


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _stat(path: Path) -> os.stat_result | None:
    """`None` if there is nothing; whatever else keeps us from knowing is an error, never "not there"."""
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as e:
        raise explain(e, f"cannot read {path}") from None


class _DiskWriter:
    """Hashes while it writes to `ingest/`; `commit` is check, fsync, rename, fsync of the folder."""

    def __init__(self, layout: OciLayout, expected: Digest | None) -> None:
        self._layout = layout
        self._expected = expected
        self._algorithm = expected.algorithm if expected else "sha256"
        self._hash = Digest.of(b"", self._algorithm).hasher()
        self._path = layout.root / "ingest" / secrets.token_hex(16)
        self.size = 0
        try:
            self._path.parent.mkdir(exist_ok=True)
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except OSError as e:
            raise explain(e, f"cannot write to {layout.root}") from None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        self._hash.update(view)
        self.size += len(view)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as e:
            raise explain(e, f"cannot write to {self._layout.root}") from None

    def commit(self, digest: Digest | None = None) -> Digest:
        digest = digest or self._expected
        if digest is not None and digest.algorithm != self._algorithm:
            self._rehash(digest.algorithm)
        actual = Digest(self._algorithm, self._hash.hexdigest())
        if digest is not None and actual != digest:
            raise DigestMismatch(f"content promised as {digest} hashes to {actual}")
        self._publish(actual)
        return actual

    def take(self, reader: ByteReader, size: int, advance: Callable[[int], None]) -> None:
        """Let the kernel copy `reader` and publish it as the expected digest, unhashed; for `materialise` only."""
        if self._expected is None or self.size:
            raise ValueError("take() needs an expected digest and an empty writer")
        try:
            copy_into(self._fd, reader, advance)
        except OSError as e:
            raise explain(e, f"cannot write to {self._layout.root}") from None
        self.size = size
        if (written := os.fstat(self._fd).st_size) != size:
            raise SizeMismatch(f"{self._expected} became {written} bytes where {size} were promised")
        self._publish(self._expected)

    def abort(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        with suppress(FileNotFoundError):
            self._path.unlink()

    def _publish(self, digest: Digest) -> None:
        target = self._layout.path(digest)
        try:
            if not target.exists():
                os.fsync(self._fd)
                make_dirs(target.parent)
                self._path.rename(target)
                fsync_dir(target.parent)
        except OSError as e:
            raise explain(e, f"cannot write {target}") from None
        self.abort()

    def _rehash(self, algorithm: str) -> None:
        self._algorithm = algorithm
        with ByteMap.of_file(self._path, self.size).open() as reader:
            state = Digest.of(b"", algorithm).hasher()
            buffer = bytearray(1 << 20)
            while n := reader.readinto(buffer):
                state.update(memoryview(buffer)[:n])
        self._hash = state

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.abort()
