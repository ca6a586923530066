"""Where images come from: a registry or an OCI layout, behind one small interface."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

from modelcar.errors import InvalidDocument, ProtocolViolation, SizeMismatch
from modelcar.oci import Descriptor, Index, Manifest, Platform, Reference
from modelcar.packaging.base import select
from modelcar.packaging.locations import Location, StoredLocation, open_layout
from modelcar.packaging.unpack import Readable
from modelcar.store import LocalStore, Names, Store, read_document, write_document
from modelcar.store.base import check_readable
from modelcar.store.transfer import copy_image
from modelcar.store.tree import is_document, load

if TYPE_CHECKING:  # a scan of a folder, or of what the shim hands over, starts without it
    from modelcar.registry import Registry

__all__ = [
    "ImageSource",
    "LayoutSource",
    "RangeStream",
    "RangedSource",
    "RegistrySource",
    "StoreSource",
    "bring_image",
    "choose_manifest",
]


class ImageSource(Protocol):
    """One image, somewhere."""

    def resolve(self) -> Descriptor:
        """What the name stands for now."""

    def document(self, descriptor: Descriptor) -> Manifest | Index:
        """A manifest or index of it, checked against its descriptor."""

    def read(self, descriptor: Descriptor) -> bytes:
        """A document or small blob in memory, checked against its descriptor."""

    def open_layer(self, descriptor: Descriptor) -> AbstractContextManager[Readable]:
        """A stream that raises at its end unless it was what the descriptor promises."""


class RangedSource(ImageSource, Protocol):
    """One that blobs can be read from in parts, too."""

    def open_range(self, descriptor: Descriptor, offset: int, length: int) -> AbstractContextManager[RangeStream]:
        """A stream of `[offset, offset + length)` of a blob, unverified: whoever reads it has digests of chunks."""


class RangeStream(Readable, Protocol):
    """Fewer bytes than were asked for may come at once, none only at the end."""

    def readinto(self, buffer: memoryview, /) -> int:
        """How many bytes came."""


class StoreSource:
    """An image in a content store on this machine."""

    def __init__(self, content: Store, root: Descriptor) -> None:
        self._content = content
        self._root = root

    def resolve(self) -> Descriptor:
        return self._root

    def document(self, descriptor: Descriptor) -> Manifest | Index:
        return load(self._content, descriptor)

    def read(self, descriptor: Descriptor) -> bytes:
        return read_document(self._content, descriptor)

    @contextmanager
    def open_layer(self, descriptor: Descriptor) -> Iterator[Readable]:
        with self._content.open(descriptor.digest) as reader:
            yield descriptor.digest.verifying(cast("BinaryIO", reader), descriptor.size)

    @contextmanager
    def open_range(self, descriptor: Descriptor, offset: int, length: int) -> Iterator[RangeStream]:
        if (size := self._content.size(descriptor.digest)) != descriptor.size:
            raise SizeMismatch(f"{descriptor.digest} has {size} bytes where {descriptor.size} were promised")
        with self._content.open(descriptor.digest, offset, length) as reader:
            yield reader


class LayoutSource(StoreSource):
    """An image in an OCI layout that came from anywhere, a folder or an archive."""

    def __init__(self, location: StoredLocation) -> None:
        layout = open_layout(location)
        names = Names(layout)
        root = names.get(location.name) if location.name else names.only()
        super().__init__(layout, root)
        self.layout = layout
        self.name = location.name or names.name_of(root)


class RegistrySource:
    """An image in a registry."""

    def __init__(self, ref: Reference, registry: Registry) -> None:
        self._ref = ref
        self._registry = registry

    def resolve(self) -> Descriptor:
        return self._registry.resolve(self._ref)

    def document(self, descriptor: Descriptor) -> Manifest | Index:
        return self._registry.manifest(self._ref, descriptor)

    def read(self, descriptor: Descriptor) -> bytes:
        if is_document(descriptor):
            return self.document(descriptor).content
        check_readable(descriptor)
        with self._registry.open_blob(self._ref, descriptor) as stream:
            return stream.readall()

    @contextmanager
    def open_layer(self, descriptor: Descriptor) -> Iterator[Readable]:
        with self._registry.open_blob(self._ref, descriptor) as stream:
            yield stream

    @contextmanager
    def open_range(self, descriptor: Descriptor, offset: int, length: int) -> Iterator[RangeStream]:
        try:
            stream = self._registry.open_blob(self._ref, descriptor, offset, length, exact=True)
        except ProtocolViolation as e:
            e.hint = e.hint or "`modelcar pull REF -o DIR` asks for no ranges"
            raise
        with stream:
            yield stream


def choose_manifest(source: ImageSource, root: Descriptor, platform: Platform | None = None) -> Manifest:
    """The manifest for `platform`, or the first image: a model's layers are the same in all of them.

    Raises:
        UsageError: there is no image for that platform.
        InvalidDocument: there is no image at all.
    """
    document = source.document(root)
    if isinstance(document, Manifest):
        return document
    if platform is not None:
        entries: Sequence[Descriptor] = [select(document, platform, str(root.digest))]
    else:
        entries = [e for e in document.manifests if e.platform is None or e.platform.os != "unknown"]
    for entry in entries:
        manifest = source.document(entry)
        if isinstance(manifest, Manifest):
            return manifest
    raise InvalidDocument(f"{root.digest} is an index without an image in it")


def bring_image(
    location: Location,
    store: LocalStore,
    registry: Registry,
    platforms: Sequence[Platform] | None = None,
    *,
    bring: Callable[[Descriptor], bool] = lambda _: False,
) -> Descriptor:
    """Bring an image into the local store, verified, and return what it is there.

    Args:
        platforms: of an index, only what is for these is brought (the index itself then stays incomplete); by default
            all of it.
        bring: see `Registry.pull`.
    """
    if isinstance(location, StoredLocation):
        source = LayoutSource(location)
        copy_image(source.layout, store.content, source.resolve())
        return source.resolve()
    if platforms is None:
        return registry.pull(location, store.content, bring=bring)
    document = registry.manifest(location)
    if isinstance(document, Manifest):
        return registry.pull(location, store.content, bring=bring)
    for platform in platforms:
        entry = document.select(platform)
        if entry is not None:
            registry.pull(location.with_digest(entry.digest), store.content, bring=bring)
    write_document(store.content, document.content, document.digest)
    return document.descriptor
