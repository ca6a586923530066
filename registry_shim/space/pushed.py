"""What was pushed to this node: repositories name it, and it is nowhere else perhaps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelcar.cache.stored import digests_in, names_in
from modelcar.oci import Digest
from modelcar.store.disk import explain
from registry_shim.distribution.repositories import Repositories
from registry_shim.space.catalogue import Catalogue, read_blob

__all__ = ["Pushed", "PushedImage", "linked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PushedImage:
    """`names` are `repository:tag`, or `repository@digest` without a tag; `size` is in bytes, as its manifests say."""

    digest: Digest
    names: tuple[str, ...]
    size: int

    def to_dict(self) -> dict[str, Any]:
        return {"digest": str(self.digest), "names": list(self.names), "size": self.size}


class Pushed:
    """The node's own repositories, for people who look at them. For one thread at a time."""

    def __init__(self, root: Path) -> None:
        repositories = Repositories(root / "repositories")
        self._catalogue = Catalogue(lambda: {"": repositories}, read_blob(root))

    def images(self) -> list[PushedImage]:
        """By name; signatures count to what they sign. Raises `StorageError`."""
        found = (
            PushedImage(
                digest=image.root,
                names=tuple(name.removeprefix("/") for name in image.names),
                size=sum(image.sizes.values()),
            )
            for image in self._catalogue.images()
        )
        return sorted(found, key=lambda image: (image.names, str(image.digest)))


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
