"""Images between layouts: what is virtual becomes a file, and a changed source is found before anything is written."""

from __future__ import annotations

import errno
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from modelcar.errors import InvalidContent, SizeMismatch, SourceChanged, StorageError
from modelcar.layers.bytemap import ByteMap
from modelcar.oci import Digest, Index, media_types
from modelcar.store import OciLayout, write_document
from modelcar.store.transfer import copy_image
from modelcar.store.tree import walk
from tests.support.images import put_image, random_image, validate_in
from tests.support.trees import Source
from tests.support.virtual import VirtualImage


@pytest.fixture
def image(tmp_path: Path) -> VirtualImage:
    return VirtualImage(tmp_path, OciLayout(tmp_path / "store", recipes=True))


@pytest.fixture
def target(tmp_path: Path) -> OciLayout:
    return OciLayout(tmp_path / "target")


def content_of(layout: OciLayout) -> list[Digest]:
    assert [*(layout.root / "ingest").glob("*")] == []
    return list(layout.digests())


@pytest.mark.parametrize("trusted", [True, False])
def test_virtual_layers_become_files(image: VirtualImage, target: OciLayout, trusted: bool) -> None:
    copy_image(image.store, target, image.root, trusted=trusted)
    for source in image.tree.values():
        source.path.unlink()
    validate_in(target, image.root)
    assert {d.digest for d in walk(target, image.root)} == set(content_of(target))
    copy_image(target, target, image.root, trusted=trusted)


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("i", [0, 1])
def test_a_changed_source_is_found_before_anything_is_written(
    image: VirtualImage, target: OciLayout, trusted: bool, i: int
) -> None:
    image.tree[f"models/shard{i}"].path.write_bytes(b"x")
    with pytest.raises(SourceChanged, match=f"models/shard{i}"):
        copy_image(image.store, target, image.root, trusted=trusted)
    assert content_of(target) == []


def test_a_source_that_changes_while_it_is_copied(
    image: VirtualImage, target: OciLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.copy_file_range

    def racing(*args: int) -> int:
        n = real(*args)
        os.utime(image.tree["models/shard1"].path)
        return n

    monkeypatch.setattr(os, "copy_file_range", racing)
    with pytest.raises(SourceChanged, match="models/shard1"):
        copy_image(image.store, target, image.root, trusted=True)
    assert image.layers[1].digest not in content_of(target)
    assert image.root.digest not in target


@pytest.mark.parametrize("error", [errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM])
@pytest.mark.parametrize("after", [0, 1])
def test_without_copy_file_range(
    image: VirtualImage, target: OciLayout, monkeypatch: pytest.MonkeyPatch, error: int, after: int
) -> None:
    """A file system that refuses at once, and one that refuses in the middle."""
    real, calls = os.copy_file_range, []

    def refusing(src: int, dst: int, n: int, from_: int, to: int) -> int:
        calls.append(n)
        if len(calls) > after:
            raise OSError(error, os.strerror(error))
        return real(src, dst, min(n, 1000), from_, to)

    monkeypatch.setattr(os, "copy_file_range", refusing)
    copy_image(image.store, target, image.root, trusted=True)
    assert calls
    validate_in(target, image.root)


def test_a_file_system_that_copies_nothing(
    image: VirtualImage, target: OciLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some FUSE file systems answer 0 to copy_file_range, as at the end of a file."""
    monkeypatch.setattr(os, "copy_file_range", lambda *_: 0)
    copy_image(image.store, target, image.root, trusted=True)
    validate_in(target, image.root)


def test_short_copies_and_short_writes_are_repeated(
    image: VirtualImage, target: OciLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, write = os.copy_file_range, os.pwrite
    monkeypatch.setattr(os, "copy_file_range", lambda s, d, n, a, b: copy(s, d, min(n, 100_001), a, b))
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: write(fd, memoryview(data)[:100], at))
    copy_image(image.store, target, image.root, trusted=True)
    validate_in(target, image.root)


@pytest.mark.parametrize("call", ["copy_file_range", "pwrite", "fsync"])
def test_a_full_disk(image: VirtualImage, target: OciLayout, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(StorageError, match="No space left") as caught:
        target.materialise(image.layers[0].digest, image.store.map(image.layers[0].digest))
    assert caught.value.hint is not None
    assert content_of(target) == []


def test_between_file_systems(image: VirtualImage) -> None:
    memory = Path("/dev/shm")  # noqa: S108  # another file system, where there is one
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        target = OciLayout(Path(folder) / "target")
        copy_image(image.store, target, image.root, trusted=True)
        validate_in(target, image.root)


def test_a_foreign_layout_is_hashed(tmp_path: Path, target: OciLayout) -> None:
    image = random_image(1)
    source = OciLayout(tmp_path / "source")
    put_image(source, image)
    layer = next(d for d in walk(source, image.root) if d.media_type == media_types.LAYER_TAR)
    source.path(layer.digest).write_bytes(bytes(layer.size))
    with pytest.raises(InvalidContent):
        copy_image(source, target, image.root)
    assert layer.digest not in target
    assert image.root.digest not in content_of(target)
    put_image(source, image)
    source.path(layer.digest).write_bytes(b"")
    with pytest.raises(SizeMismatch):
        copy_image(source, target, image.root)


def test_a_layer_that_shrinks_is_never_published(tmp_path: Path, target: OciLayout) -> None:
    """A store's own file needs no stamp, so only its size can betray it."""
    source = Source(tmp_path / "blob", bytes(5000))
    content = ByteMap.of_file(source.path, 5000)
    os.truncate(source.path, 4000)
    with pytest.raises(SourceChanged, match=f"^{source.path} has changed .* it ends at byte 4000$"):
        target.materialise(Digest.of(source.content), content)
    assert content_of(target) == []


def test_a_document_that_is_also_listed_as_a_blob_keeps_its_children(tmp_path: Path, target: OciLayout) -> None:
    image = random_image(2)
    source = OciLayout(tmp_path / "source")
    put_image(source, image)
    index = Index(manifests=(replace(image.root, media_type="application/x"), image.root))
    write_document(source, index.content)
    found = [d.digest for d in walk(source, index.descriptor)]
    assert sorted(found) == sorted({*image.blobs, index.digest})
    copy_image(source, target, index.descriptor)
    validate_in(target, image.root)


def test_endless_nesting_is_refused(tmp_path: Path, target: OciLayout) -> None:
    root = put_image(target, random_image(3))
    for _ in range(12):
        index = Index(manifests=(root,))
        write_document(target, index.content)
        root = index.descriptor
    with pytest.raises(InvalidContent, match="nested"):
        list(walk(target, root))
