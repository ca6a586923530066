"""What was pushed to this node: repositories name it, and it is nowhere else perhaps."""

from __future__ import annotations

from pathlib import Path

from modelcar.cache.stored import digests_in, names_in
from modelcar.oci import Digest
from modelcar.store.disk import explain

__all__ = ["linked"]


def linked(repositories: Path) -> set[Digest]:
    """Blobs and manifests that repositories name: what was pushed here, and is nowhere else perhaps. Raises
    `StorageError`."""
    found: set[Digest] = set()
    waiting = [repositories]
    try:
        while waiting:
            folder = waiting.pop()
            for name in names_in(folder):
                if name in ("_blobs", "_manifests"):
                    found |= set(digests_in(folder / name))
                elif not name.startswith(("_", ".")):
                    waiting.append(folder / name)
    except OSError as e:
        raise explain(e, f"cannot read {repositories}") from None
    return found
