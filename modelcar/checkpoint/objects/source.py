"""A folder of a bucket, as a place that files are brought from.

Objects are brought into a cache of ours, by name and version: what was brought once is not brought again while the
store has the same version. They stay there, since images in the local store refer to them.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from modelcar.backoff import Backoff
from modelcar.checkpoint.objects.hedging import Hedge
from modelcar.checkpoint.objects.names import Location
from modelcar.checkpoint.objects.problems import changed, is_passing, translated
from modelcar.checkpoint.objects.stores import endpoint_of, open_store
from modelcar.checkpoint.provenance import Provenance
from modelcar.checkpoint.remote import RemoteFile, read_range
from modelcar.errors import EmptySource, SourceError, StorageError
from modelcar.exchanges import told
from modelcar.oci import Digest

if TYPE_CHECKING:
    from obstore import GetResult, ObjectMeta
    from obstore.store import ObjectStore

    from modelcar.checkpoint.ranges import Write

__all__ = ["ObjectSource", "cache_folder", "open_objects"]

T = TypeVar("T")
_log = logging.getLogger(__name__)
_ATTEMPTS: Final = 4
_BACKOFF: Final = Backoff(0.5, 2.0)
_AT_ONCE: Final = 16  # ranges of one file: each connection to such a store is slow, and there may be many
_PART: Final = 256 << 10  # bytes of a body in memory at once
_PUBLISHED: Final = 0o644


def open_objects(location: Location, wanted: Callable[[str], bool], cache: Path | None = None) -> ObjectSource:
    """What lies at `location` now, as far as it is `wanted`.

    Args:
        wanted: is asked of every path below the location.
        cache: by default `cache_folder()`.

    Raises:
        SourceError: there is no such bucket or folder, or nothing of it is wanted.
        WorldError: no access, no network.
        UsageError: the library for it is not installed.
    """
    store = open_store(location)
    try:
        above, listed = _listed(store, location)
    except Exception as e:  # the one boundary behind which none of the client's exceptions gets
        raise translated(e, location) from e
    if not listed:
        raise SourceError(f"there is nothing at {location}", hint="check the bucket's and the folder's name")
    files = tuple(file for file in listed if wanted(file.path))
    if not files:
        raise EmptySource(f"no file of {location} is wanted", hint="look at the patterns of --allow and --ignore")
    return ObjectSource(store, location, above, files, cache or cache_folder())


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """`$MODELCAR_OBJECTS_CACHE`, else `$XDG_CACHE_HOME/modelcar/objects`, else `~/.cache/modelcar/objects`."""
    if own := environment.get("MODELCAR_OBJECTS_CACHE"):
        return Path(own)
    cache = environment.get("XDG_CACHE_HOME")
    try:
        return (Path(cache) if cache else Path.home() / ".cache") / "modelcar" / "objects"
    except RuntimeError:
        raise StorageError("there is no home folder to bring objects to", hint="set MODELCAR_OBJECTS_CACHE") from None


def _listed(store: ObjectStore, location: Location) -> tuple[str, list[RemoteFile]]:
    """All objects below the location, or the one that it names, and what their keys begin with."""
    import obstore

    found = [meta for page in obstore.list(store, prefix=location.key or None, chunk_size=1000) for meta in page]
    above = f"{location.key}/" if location.key else ""
    if not found and location.key:
        with suppress(FileNotFoundError):
            found = [obstore.head(store, location.key)]
        above = location.key[: location.key.rfind("/") + 1]
    folders = {path[:at] for path in (meta["path"] for meta in found) for at, c in enumerate(path) if c == "/"}
    # Consoles make an empty object for a folder.
    kept = [meta for meta in found if meta["size"] or meta["path"] not in {*folders, location.key}]
    return above, [
        RemoteFile(path=meta["path"][len(above) :], size=meta["size"], version=_version(meta)) for meta in kept
    ]


def _version(meta: ObjectMeta) -> str:
    return meta["e_tag"] or meta["version"] or meta["last_modified"].isoformat()


class ObjectSource:
    """`RemoteSource` for one listing."""

    at_once = _AT_ONCE

    def __init__(
        self, store: ObjectStore, location: Location, above: str, files: tuple[RemoteFile, ...], cache: Path
    ) -> None:
        self._store, self._location, self.files = store, location, files
        self._folder = cache.expanduser().absolute() / location.scheme / location.bucket
        self._endpoint = endpoint_of(location)
        self._above = above
        self._hedge = Hedge()

    @property
    def name(self) -> str:
        return str(self._location)

    @property
    def root(self) -> Path:
        return self._folder

    @property
    def provenance(self) -> Provenance:
        """Nothing: a bucket's name is nobody's business who gets the image, and its content changes."""
        return Provenance()

    def read(self, file: RemoteFile, start: int, stop: int) -> bytes | memoryview:
        if start >= stop:
            return b""
        return self._tried(file, start, stop, lambda: memoryview(self._ask(file, start, stop).bytes()))

    def copy(self, file: RemoteFile, start: int, stop: int, write: Write) -> None:
        """A body is written as it comes: sixteen whole ones in memory, each put together from parts, are a lot."""
        if start >= stop:
            return
        with _writing(write) as put:
            self._tried(file, start, stop, lambda: self._stream(file, start, stop, put))

    def _tried(self, file: RemoteFile, start: int, stop: int, ask: Callable[[], T]) -> T:
        """What `ask` gives, which asks for these bytes: again where it is slow, and where it fails."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with told(
                    _log, "GET", f"{self._location.scheme}://{self._location.bucket}/{self._key(file)}"
                ) as exchange:
                    answer = self._hedge.get(ask, stop - start)
                    exchange.status, exchange.received = 206, stop - start
                return answer
            except Exception as e:  # the one boundary behind which none of the client's exceptions gets
                if attempt == _ATTEMPTS or not is_passing(e):
                    raise translated(e, self._location, file.path) from e
            delay = _BACKOFF.after(attempt)
            _log.debug("%s: bytes %d-%d of %s: again in %.1f s", self.name, start, stop - 1, file.path, delay)
            time.sleep(delay)
        raise AssertionError  # the last attempt returns or raises

    def bring(self, file: RemoteFile) -> Path:
        data = read_range(self, file, 0, file.size)
        place = self.place(file)
        new = place.with_name(f"{place.name}.{os.getpid()}")
        try:
            new.write_bytes(data)
        except OSError as e:
            raise StorageError(
                f"cannot write {new}: {e.strerror}", hint="make room, or set MODELCAR_OBJECTS_CACHE"
            ) from e
        return self.keep(file, new)

    def existing(self, file: RemoteFile) -> Path | None:
        path = self._path(file)
        return path.resolve() if path.is_file() and path.stat().st_size == file.size else None

    def place(self, file: RemoteFile) -> Path:
        path = self._path(file)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            hint = "make it writable, or set MODELCAR_OBJECTS_CACHE"
            raise StorageError(f"cannot make {path.parent}: {e.strerror}", hint=hint) from None
        return path.with_name(f"{path.name}.incomplete")

    def keep(self, file: RemoteFile, path: Path) -> Path:
        kept = self._path(file)
        path.chmod(_PUBLISHED)
        path.rename(kept)
        return kept.resolve()

    def _path(self, file: RemoteFile) -> Path:
        identity = "\0".join((self._endpoint, self._key(file), file.version, str(file.size)))
        return self._folder / Digest.of(identity.encode()).hex

    def _key(self, file: RemoteFile) -> str:
        return self._above + file.path

    def _stream(self, file: RemoteFile, start: int, stop: int, put: Write) -> None:
        offset = start
        for part in self._ask(file, start, stop).stream(min_chunk_size=_PART):
            put(offset, memoryview(part)[: stop - offset])
            offset += len(part)
        if offset != stop:
            raise changed(self._location, file.path)

    def _ask(self, file: RemoteFile, start: int, stop: int) -> GetResult:
        import obstore

        options: Any = {"range": (start, stop)}
        if file.version.startswith('"'):  # an etag, and not a weak one
            options["if_match"] = file.version
        answer = obstore.get(self._store, self._key(file), options=options)
        if _version(answer.meta) != file.version or answer.meta["size"] != file.size:
            raise changed(self._location, file.path)
        return answer


class _TooLateError(Exception):
    """Another request has brought these bytes."""


@contextmanager
def _writing(write: Write) -> Iterator[Write]:
    """`write`, for as long as the block runs: of two requests for the same bytes, the slow one may still be at it when
    their file has its name already."""
    lock, over = threading.Lock(), False

    def put(offset: int, data: memoryview) -> None:
        with lock:
            if over:
                raise _TooLateError
            write(offset, data)

    try:
        yield put
    finally:
        with lock:
            over = True
