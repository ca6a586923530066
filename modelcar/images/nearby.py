"""What the local store has of an image in a registry need not come over the network.

The store's word is taken for its content, as everywhere: it was hashed when it came in, and a file that a recipe names
must still be in the state that was hashed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

from modelcar.errors import InvalidContent, ModelcarError, SourceChanged
from modelcar.images.reader import ModelLayer
from modelcar.layers.bytemap import ByteMap
from modelcar.layers.index import IndexedFile
from modelcar.layers.members import locate_members
from modelcar.oci import Descriptor, Index, Manifest, Reference, parse_manifest
from modelcar.packaging.fetch import RangedSource, RangeStream, RegistrySource, StoreSource
from modelcar.packaging.headers import check_header
from modelcar.packaging.unpack import Readable
from modelcar.registry import Registry
from modelcar.store import LocalStore, default_home
from modelcar.store.disk import copy_into, explain

__all__ = ["NearbySource", "check_places", "copy_files", "nearby_store"]

_MOST_DOCUMENT: Final = 16 << 20  # bytes


@contextmanager
def nearby_store(store: LocalStore | None = None) -> Iterator[LocalStore | None]:
    """`store`, or the user's own if there is one, from which nothing is removed while the block runs."""
    if store is None:
        with suppress(ModelcarError, OSError):
            home = default_home()
            store = LocalStore(home) if (home / "store" / "oci-layout").exists() else None
    if store is None:
        yield None
        return
    with store.session():
        yield store


class NearbySource:
    """`RangedSource` of an image in a registry, of which the local store may have something."""

    def __init__(self, ref: Reference, registry: Registry, store: LocalStore) -> None:
        self._ref, self._content = ref, store.content
        self._remote = RegistrySource(ref, registry)

    def resolve(self) -> Descriptor:
        digest = self._ref.digest
        if digest is not None and digest in self._content:
            with suppress(ModelcarError), self._content.open(digest) as reader:
                found = parse_manifest(reader.read(min(reader.remaining, _MOST_DOCUMENT))).descriptor
                if found.digest == digest:
                    return found
        return self._remote.resolve()

    def has(self, blob: Descriptor) -> ByteMap | None:
        """A blob that is here, whole and as it was hashed."""
        with suppress(ModelcarError):
            if blob.digest in self._content:
                found = self._content.map(blob.digest)
                found.check()
                return found if found.size == blob.size else None
        return None

    def document(self, descriptor: Descriptor) -> Manifest | Index:
        return self._source(descriptor).document(descriptor)

    def read(self, descriptor: Descriptor) -> bytes:
        return self._source(descriptor).read(descriptor)

    def open_layer(self, descriptor: Descriptor) -> AbstractContextManager[Readable]:
        return self._source(descriptor).open_layer(descriptor)

    def open_range(self, descriptor: Descriptor, offset: int, length: int) -> AbstractContextManager[RangeStream]:
        return self._source(descriptor).open_range(descriptor, offset, length)

    def _source(self, descriptor: Descriptor) -> RangedSource:
        here = self.has(descriptor) is not None
        return StoreSource(self._content, descriptor) if here else self._remote


def copy_files(
    content: ByteMap,
    layer: ModelLayer,
    root: str,
    files: Sequence[tuple[IndexedFile, Path]],
    advance: Callable[[int], None],
) -> bool:
    """Write files of a layer that is here to their places, by reflink where the file system can; `False` if it turns
    out not to be what it was when it was hashed, and then none of them is there.

    Raises:
        InvalidContent: the model index says something else of the layer than its tar.
        StorageError: they cannot be written.
    """
    paths = [path for _, path in files]
    try:
        check_places(layer, root, partial(_read_at, content))
        for file, path in files:
            if file.tensors:
                check_header(file, _read_at(content, file.offset, file.header_size or 0))
            path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
            try:
                with content.open(file.offset, file.size) as reader:
                    copy_into(fd, reader, advance)
            finally:
                os.close(fd)
    except SourceChanged:
        for path in paths:
            path.unlink(missing_ok=True)
        return False
    except OSError as e:
        raise explain(e, f"cannot write {paths[0].parent}") from None
    return True


def check_places(layer: ModelLayer, root: str, read: Callable[[int, int], bytes]) -> None:
    """Raise `InvalidContent` unless the tar has exactly the files that the index lists, where it says.

    Args:
        root: the folder in the image that the index's paths are relative to.
        read: `read(offset, n)` of the tar.
    """
    members = locate_members(read, layer.grid.size)
    found = {path: (member.offset, member.size) for path, member in members.items()}
    top = root.strip("/")
    if found != {f"{top}/{file.path}": (file.offset, file.size) for file in layer.files}:
        raise InvalidContent(f"the model index places the files of layer {layer.descriptor.digest} elsewhere")


def _read_at(content: ByteMap, offset: int, n: int) -> bytes:
    with content.open(offset, min(n, content.size - offset)) as reader:
        return reader.read()
