"""Layers that go straight to a repository."""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from modelcar.errors import StorageError
from modelcar.layers.bytemap import ByteMap
from modelcar.oci import Descriptor, Digest, Reference
from modelcar.registry import Registry
from modelcar.registry.cancel import CancelScope
from modelcar.store.spool import OWN_LOCK

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["RepositoryTarget", "spool_for"]


class RepositoryTarget:
    """`modelcar.packaging.passing.Target`: the repository of `ref`."""

    def __init__(self, registry: Registry, ref: Reference) -> None:
        self._registry, self._ref = registry, ref
        self._scope = CancelScope()

    @property
    def name(self) -> str:
        return self._ref.name

    def has(self, digest: Digest, size: int) -> bool:
        return self._registry.has_blob(self._ref, digest, size)

    def send(self, blob: Descriptor, content: ByteMap) -> None:
        self._scope.run(lambda: self._registry.upload_blob(self._ref, blob, content))

    def cancel(self, cause: BaseException) -> None:
        self._scope.cancel(cause)


@contextmanager
def spool_for(parent: Path, source: str) -> Iterator[Path]:
    """A folder under `parent` for what of `source` passes through, removed in the end.

    One that was killed leaves it, and the next one for the same source goes on from there.

    Raises:
        StorageError: it cannot be made, or another build uses it.
    """
    folder = parent / f"{OWN_LOCK}{Digest.of(source.encode()).short}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as e:
        raise StorageError(f"cannot make a spool in {parent}: {e.strerror}", hint="set MODELCAR_HOME") from None
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StorageError(f"another build streams {source} at the moment", hint="wait until it is done") from None
        try:
            yield folder.resolve()
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(fd)
