"""Whether a whole blob on disk is still what its digest says."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from modelcar.errors import DigestMismatch
from modelcar.oci import Digest
from modelcar.store.disk import explain

__all__ = ["check_file"]

_STEP: Final = 1 << 20


def check_file(path: Path, digest: Digest, *, pace: Callable[[int], None] = lambda _: None) -> int:
    """Read a file and return its size. `pace` is told of bytes read, and may wait.

    Raises:
        DigestMismatch: it holds something else, or the disk cannot read it.
        StorageError: it cannot be opened.
        FileNotFoundError: it is gone.
    """
    state = digest.hasher()
    buffer = memoryview(bytearray(_STEP))
    size = 0
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as e:
        raise explain(e, f"cannot read {path}") from None
    try:
        while n := os.preadv(fd, [buffer], size):
            state.update(buffer[:n])
            # From the disk the next time, too; and what pulls need stays in memory.
            if hasattr(os, "posix_fadvise"):  # macOS has none
                os.posix_fadvise(fd, size, n, os.POSIX_FADV_DONTNEED)
            size += n
            pace(n)
    except OSError as e:
        raise DigestMismatch(f"{path} cannot be read: {e.strerror}") from None
    finally:
        os.close(fd)
    if state.hexdigest() != digest.hex:
        raise DigestMismatch(f"{path} hashes to {digest.algorithm}:{state.hexdigest()}")
    return size
