"""Images between stores on disk: virtual layers become files, by reflink where the file system can."""

from __future__ import annotations

from functools import partial

from modelcar.errors import SizeMismatch
from modelcar.oci import Descriptor, Digest
from modelcar.progress import SILENT, Progress
from modelcar.store.base import Store, read_document, write_document
from modelcar.store.layout import OciLayout
from modelcar.store.tree import is_document, walk

__all__ = ["copy_image"]

_BUFFER = 1 << 20


def copy_image(
    source: Store, target: Store, root: Descriptor, *, trusted: bool = False, progress: Progress = SILENT
) -> None:
    """Copy everything reachable from `root`, children first. What is there already is not copied again.

    Args:
        trusted: `source` is the user's own store, so its bytes need no hashing on the way and may be reflinked.

    Raises:
        SourceChanged: a file that a virtual layer consists of is not what it was; found before anything is copied.
        InvalidContent: the source's bytes are not what their digests say.
    """
    descriptors = list(walk(source, root))
    for descriptor in descriptors:
        source.map(descriptor.digest).check()
    progress.expect(sum(d.size for d in descriptors if not is_document(d)))
    for descriptor in descriptors:
        if is_document(descriptor):
            write_document(target, read_document(source, descriptor), descriptor.digest)
            continue
        key = str(descriptor.digest)
        progress.start(key, descriptor.digest.short, descriptor.size)
        if descriptor.digest in target and not _is_virtual(target, descriptor.digest):
            progress.finish(key, "exists")
            continue
        _copy_blob(source, target, descriptor, trusted=trusted, progress=progress)
        progress.finish(key)


def _is_virtual(store: Store, digest: Digest) -> bool:
    return isinstance(store, OciLayout) and store.is_virtual(digest)


def _copy_blob(source: Store, target: Store, descriptor: Descriptor, *, trusted: bool, progress: Progress) -> None:
    advance = partial(progress.advance, str(descriptor.digest))
    content = source.map(descriptor.digest)
    if content.size != descriptor.size:
        raise SizeMismatch(f"{descriptor.digest} has {content.size} bytes where {descriptor.size} were promised")
    if trusted and isinstance(target, OciLayout):
        target.materialise(descriptor.digest, content, advance=advance)
        return
    buffer = memoryview(bytearray(_BUFFER))
    with target.begin(descriptor.digest) as writer, content.open() as reader:
        while n := reader.readinto(buffer):
            writer.write(buffer[:n])
            advance(n)
        writer.commit()
