"""What other processes use of a cache: mounts say so in a small file, and the shim evicts none of it.

```
ROOT/leases/<id>.json   {"pid": …, "what": "mount /mnt/llm", "digests": ["sha256:…", …]}
```

The process keeps its file locked (`flock`) for as long as it uses these blobs. The kernel lets go of the lock when the
process dies, however it does, and a file that nobody holds counts for nothing and is removed.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from modelcar.errors import InvalidDigest, InvalidDocument
from modelcar.oci import Digest, compact_json
from modelcar.oci.document import Fields, parse_object
from modelcar.store.disk import explain, make_dirs

__all__ = ["Hold", "hold", "holds"]

_FOLDER: Final = "leases"
_MAX_FILE: Final = 16 << 20  # bytes
_BEGINNING: Final = 60.0  # seconds that a process has from creating its file to locking it


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Blobs that a process uses; `what` tells people what for."""

    pid: int
    what: str
    digests: frozenset[Digest]

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Raises `InvalidDocument`, `InvalidDigest`."""
        fields = Fields(parse_object(raw, "lease", limit=_MAX_FILE), "lease")
        digests = frozenset(map(Digest.parse, fields.texts("digests")))
        return cls(pid=fields.size("pid"), what=fields.text("what"), digests=digests)

    def to_json(self) -> bytes:
        return compact_json({"pid": self.pid, "what": self.what, "digests": sorted(map(str, self.digests))})


@contextmanager
def hold(root: Path, digests: Iterable[Digest], what: str) -> Iterator[None]:
    """Keep blobs of the cache under `root` from being evicted. Look whether they are there only once this holds them.

    Raises:
        StorageError: the folder cannot be written.
    """
    folder = root / _FOLDER
    make_dirs(folder)
    name = secrets.token_hex(8)
    hidden, path = folder / f".{name}", folder / f"{name}.json"
    try:
        fd = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as e:
        raise explain(e, f"cannot write {hidden}") from None
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)  # before anybody sees the file: one without a lock is a dead process's
            _write(fd, Hold(pid=os.getpid(), what=what, digests=frozenset(digests)).to_json())
            hidden.rename(path)
        except OSError as e:
            raise explain(e, f"cannot write {path}") from None
        yield
    finally:
        for leftover in (hidden, path):
            with suppress(OSError):
                leftover.unlink()
        os.close(fd)


def holds(root: Path) -> list[Hold]:
    """What living processes hold. Files of dead ones are removed; one that cannot be read is an error, because nobody
    knows what it keeps.

    Raises:
        StorageError: the folder cannot be read.
        InvalidDocument: a living process holds a file that says nothing.
    """
    found = []
    for path in _files(root / _FOLDER):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        except OSError as e:
            raise explain(e, f"cannot read {path}") from None
        try:
            if not _is_dead(fd):
                if not path.name.startswith("."):
                    found.append(_parsed(path, os.pread(fd, _MAX_FILE + 1, 0)))
            elif not path.name.startswith(".") or time.time() - os.fstat(fd).st_mtime > _BEGINNING:
                with suppress(FileNotFoundError):
                    path.unlink()
        finally:
            os.close(fd)
    return found


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(Path(entry.path) for entry in os.scandir(folder))
    except FileNotFoundError:
        return []
    except OSError as e:
        raise explain(e, f"cannot read {folder}") from None


def _is_dead(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _parsed(path: Path, raw: bytes) -> Hold:
    try:
        return Hold.parse(raw)
    except (InvalidDocument, InvalidDigest) as e:
        raise InvalidDocument(f"{path}: {e}", hint="end the process that holds it") from None


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
