"""Archives: what is written is read where it lies, by bytes that depend on nothing but what is in it."""

from __future__ import annotations

import errno
import gzip
import json
import os
import random
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from modelcar.errors import (
    DigestMismatch,
    InvalidContent,
    NotFound,
    SizeMismatch,
    SourceChanged,
    StorageError,
    UsageError,
)
from modelcar.layers.bytemap import ByteMap, FileRange, Literal
from modelcar.layers.tar import ALIGNMENT
from modelcar.oci import Descriptor, Digest, Manifest, compact_json, media_types
from modelcar.store import ArchiveStore, Names, OciLayout, Store, write_document
from modelcar.store.archiving import Part, archive_content, write_archive
from modelcar.store.names import REF_NAME
from tests.support.images import RandomImage, put_image, random_image, validate_in
from tests.support.tars import make_tar, write_sparse
from tests.support.trees import open_files
from tests.support.virtual import VirtualImage

GIB = 1 << 30
MARKER = b'{"imageLayoutVersion":"1.0.0"}'


@pytest.fixture
def image() -> RandomImage:
    return random_image(1, sizes=(100_000, 300_000))


@pytest.fixture
def layout(tmp_path: Path, image: RandomImage) -> OciLayout:
    layout = OciLayout(tmp_path / "layout")
    put_image(layout, image)
    return layout


def named(root: Descriptor, name: str = "v1") -> Descriptor:
    return root.annotated({REF_NAME: name})


def pack(
    path: Path, store: Store, root: Descriptor, *, others: dict[str, bytes] | None = None, trusted: bool = False
) -> int:
    return write_archive(path, [Part(entry=named(root), store=store, trusted=trusted)], others=others)


def layout_files(image: RandomImage, name: str = "v1") -> dict[str, bytes]:
    """What any program would put into an archive of this image."""
    index = {"schemaVersion": 2, "manifests": [named(image.root, name).to_dict()]}
    blobs = {f"blobs/{digest.algorithm}/{digest.hex}": content for digest, content in image.blobs.items()}
    return {"index.json": compact_json(index), "oci-layout": MARKER, **blobs}


def opened(tmp_path: Path, files: dict[str, bytes], dialect: str = "pax") -> ArchiveStore:
    path = tmp_path / "theirs.tar"
    path.write_bytes(make_tar(files, dialect=dialect))
    return ArchiveStore(path)


def test_written_and_read(tmp_path: Path, layout: OciLayout, image: RandomImage) -> None:
    size = pack(tmp_path / "a.tar", layout, image.root)
    assert size == (tmp_path / "a.tar").stat().st_size
    archive = ArchiveStore(tmp_path / "a.tar")
    assert Names(archive).list() == {"v1": image.root}
    assert Names(archive).only() == image.root
    validate_in(archive, image.root)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tar", "layout"], "nothing else is left"


def test_every_blob_is_one_range_of_the_file(tmp_path: Path, layout: OciLayout, image: RandomImage) -> None:
    """So that the kernel can move it, and aligned so that it can be shared."""
    pack(tmp_path / "a.tar", layout, image.root)
    archive = ArchiveStore(tmp_path / "a.tar")
    for digest, content in image.blobs.items():
        (segment,) = archive.map(digest).segments()
        assert isinstance(segment, FileRange)
        assert (segment.path, segment.size) == (tmp_path / "a.tar", len(content) == segment.size and len(content))
        assert segment.stamp is not None
        assert segment.size < 65_536 or segment.offset % ALIGNMENT == 0
        assert archive.size(digest) == len(content)
        with archive.open(digest, 3, 5) as reader:
            assert reader.read() == content[3:8]
    before = open_files()
    assert Digest.of(b"other") not in archive
    with pytest.raises(NotFound, match=r"is not in .*a\.tar"):
        archive.map(Digest.of(b"other"))
    assert open_files() == before


def test_the_same_content_gives_the_same_bytes(tmp_path: Path, image: RandomImage) -> None:
    for name in ("a", "b"):
        source = OciLayout(tmp_path / name)
        blobs = list(image.blobs.items())
        random.Random(name).shuffle(blobs)
        for digest, content in blobs:
            write_document(source, content, digest)
        pack(tmp_path / f"{name}.tar", source, image.root, others={"x/y": b"z"}, trusted=name == "a")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_virtual_layers(tmp_path: Path) -> None:
    """Straight from the checkpoint's files, at whose bytes nobody looks."""
    virtual = VirtualImage(tmp_path, OciLayout(tmp_path / "store", recipes=True))
    pack(tmp_path / "a.tar", virtual.store, virtual.root, trusted=True)
    for source in virtual.tree.values():
        source.path.unlink()
    validate_in(ArchiveStore(tmp_path / "a.tar"), virtual.root)


@pytest.mark.parametrize("trusted", [True, False])
def test_a_changed_source_is_found_before_anything_is_written(tmp_path: Path, trusted: bool) -> None:
    virtual = VirtualImage(tmp_path, OciLayout(tmp_path / "store", recipes=True))
    virtual.tree["models/shard1"].path.write_bytes(b"x")
    with pytest.raises(SourceChanged, match="models/shard1"):
        pack(tmp_path / "a.tar", virtual.store, virtual.root, trusted=trusted)
    assert not list(tmp_path.glob("*.tar*"))


def test_a_source_that_is_not_what_it_says(tmp_path: Path, layout: OciLayout, image: RandomImage) -> None:
    layer = image.documents.manifests[0].layers[1]
    path = layout.path(layer.digest)
    path.write_bytes(bytes(layer.size))
    with pytest.raises(DigestMismatch, match=str(layer.digest)):
        pack(tmp_path / "a.tar", layout, image.root)
    path.write_bytes(b"short")
    with pytest.raises(SizeMismatch, match=str(layer.digest)):
        pack(tmp_path / "a.tar", layout, image.root, trusted=True)
    path.unlink()
    with pytest.raises(NotFound, match=str(layer.digest)):
        pack(tmp_path / "a.tar", layout, image.root)
    assert not list(tmp_path.glob("*a.tar*"))


def a_file(path: Path) -> None:
    path.write_bytes(b"mine")


def a_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("make", [a_file, Path.mkdir, a_dangling_link])
def test_nothing_is_replaced(
    tmp_path: Path, layout: OciLayout, image: RandomImage, make: Callable[[Path], None]
) -> None:
    path = tmp_path / "a.tar"
    make(path)
    before = path.lstat()
    with pytest.raises(UsageError, match=r"a\.tar is there already"):
        pack(path, layout, image.root)
    assert path.lstat() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tar", "layout"]


@pytest.mark.parametrize("links", [True, False])
def test_what_appears_meanwhile_is_not_replaced_either(
    tmp_path: Path, layout: OciLayout, image: RandomImage, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    path = tmp_path / "a.tar"
    fsync, link = os.fsync, os.link

    def appear(fd: int) -> None:
        fsync(fd)
        path.write_bytes(b"mine")

    def no_links(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fsync", appear)
    monkeypatch.setattr(os, "link", link if links else no_links)
    with pytest.raises(UsageError, match=r"a\.tar is there already"):
        pack(path, layout, image.root)
    assert path.read_bytes() == b"mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tar", "layout"]


def test_a_file_system_without_links(
    tmp_path: Path, layout: OciLayout, image: RandomImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    pack(tmp_path / "a.tar", layout, image.root)
    validate_in(ArchiveStore(tmp_path / "a.tar"), image.root)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tar", "layout"]


@pytest.mark.parametrize("call", ["copy_file_range", "pwrite", "fsync"])
def test_a_full_disk(
    tmp_path: Path, layout: OciLayout, image: RandomImage, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(StorageError, match=r"cannot write .*a\.tar: No space left on device") as caught:
        pack(tmp_path / "a.tar", layout, image.root)
    assert caught.value.hint == "free some space and run it again; nothing half-written is visible"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["layout"]


def test_a_file_system_for_small_files(tmp_path: Path, layout: OciLayout, image: RandomImage) -> None:
    """FAT ends at 4 GiB; here it is the process that may not write more."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(StorageError, match=r"cannot write .*a\.tar: File too large") as caught:
            pack(tmp_path / "a.tar", layout, image.root)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.hint is not None
    assert "FAT" in caught.value.hint
    assert sorted(p.name for p in tmp_path.iterdir()) == ["layout"]


def test_no_folder_to_write_to(tmp_path: Path, layout: OciLayout, image: RandomImage) -> None:
    with pytest.raises(StorageError, match=r"cannot write .*none/a\.tar: No such file or directory"):
        pack(tmp_path / "none/a.tar", layout, image.root)


def test_interrupted(tmp_path: Path, layout: OciLayout, image: RandomImage, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    before = open_files()
    with pytest.raises(KeyboardInterrupt):
        pack(tmp_path / "a.tar", layout, image.root)
    assert open_files() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["layout"]


def test_other_files_in_it(tmp_path: Path, layout: OciLayout, image: RandomImage) -> None:
    pack(tmp_path / "a.tar", layout, image.root, others={".a/b/c": b"c", ".a/a": b"a", ".ab": b"no"})
    archive = ArchiveStore(tmp_path / "a.tar")
    assert archive.members(".a") == [".a/a", ".a/b/c"]
    assert archive.member(".a/b/c", 1) == b"c"
    with pytest.raises(InvalidContent, match=r"\.ab in .* has 2 bytes, more than the 1 that are read"):
        archive.member(".ab", 1)


# Archives of others.


@pytest.mark.parametrize("dialect", ["gnu", "pax", "ustar"])
def test_members_in_any_order(tmp_path: Path, image: RandomImage, dialect: str) -> None:
    files = list(layout_files(image).items())
    for seed in range(3):
        random.Random(seed).shuffle(files)
        archive = opened(tmp_path, {"blobs/": b"", **{f"./{path}": content for path, content in files}}, dialect)
        assert Names(archive).only() == image.root
        validate_in(archive, image.root)


def test_blobs_are_checked_when_they_are_used(tmp_path: Path, image: RandomImage) -> None:
    files = layout_files(image)
    manifest = image.documents.manifests[0]
    files[f"blobs/sha256/{manifest.digest.hex}"] = manifest.content.replace(b"amd64", b"arm64") + b" "
    archive = opened(tmp_path, files)
    with pytest.raises(InvalidContent):
        validate_in(archive, image.root)
    with pytest.raises((DigestMismatch, SizeMismatch)):
        pack(tmp_path / "b.tar", archive, image.root)


def test_it_is_never_changed(tmp_path: Path, image: RandomImage) -> None:
    archive = opened(tmp_path, layout_files(image))
    before = archive.root.read_bytes()
    for edit in (
        archive.begin,
        lambda: archive.delete(image.root.digest),
        lambda: archive.write_index(b"{}"),
        lambda: Names(archive).put("other", image.root),
        lambda: Names(archive).remove("v1"),
        lambda: write_document(archive, b"new"),
    ):
        with pytest.raises(UsageError, match="is an archive, and those are never changed"):
            edit()
    assert archive.root.read_bytes() == before
    write_document(archive, image.documents.index.content)  # is there already


@pytest.mark.parametrize("change", [b"", b"x"])
def test_a_change_while_it_is_read(tmp_path: Path, image: RandomImage, change: bytes) -> None:
    archive = opened(tmp_path, layout_files(image))
    digest = image.documents.manifests[0].layers[0].digest
    content = archive.map(digest)
    if change:
        with archive.root.open("ab") as f:
            f.write(change)
    else:
        archive.root.unlink()
    with pytest.raises(SourceChanged, match=r"theirs\.tar"):
        archive.map(digest)
    with pytest.raises(SourceChanged, match=r"theirs\.tar"), content.open() as reader:
        reader.read()


def test_a_relative_path_survives_a_change_of_folder(
    tmp_path: Path, image: RandomImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    opened(tmp_path, layout_files(image))
    archive = ArchiveStore(Path("theirs.tar"))
    monkeypatch.chdir("/")
    validate_in(archive, image.root)
    assert str(archive.root) == "theirs.tar"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a": b""}, r"is not an OCI image layout: there is no oci-layout in it"),
        ({"oci-layout": b'{"imageLayoutVersion":"2.0.0"}'}, "of version '2.0.0'"),
        ({"oci-layout": b"{}"}, "of version None"),
        ({"oci-layout": b"1"}, "not a JSON object"),
        ({"oci-layout": b" " * 5000 + MARKER}, "has 5030 bytes, more than the 4096"),
    ],
)
def test_tars_that_are_no_layouts(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    with pytest.raises((NotFound, InvalidContent), match=message):
        opened(tmp_path, files)


def test_layouts_without_an_index(tmp_path: Path) -> None:
    archive = opened(tmp_path, {"oci-layout": MARKER})
    with pytest.raises(NotFound, match=r"there is no index\.json in it"):
        Names(archive).only()
    archive = opened(tmp_path, {"oci-layout": MARKER, "index.json": b" " * (5 << 20)})
    with pytest.raises(InvalidContent, match="more than the 4194304 that are read"):
        Names(archive).only()


def test_dockers_older_kind(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="is not an OCI image layout") as caught:
        opened(tmp_path, {"manifest.json": b"[]", "repositories": b"{}"})
    assert caught.value.hint is not None
    assert "docker-archive:FILE" in caught.value.hint


def test_what_is_no_archive_at_all(tmp_path: Path, image: RandomImage) -> None:
    tar = make_tar(layout_files(image))
    path = tmp_path / "file"
    for content, error, message in [
        (gzip.compress(tar), UsageError, r"is compressed \(gzip\)"),
        (b"\x28\xb5\x2f\xfd" + tar, UsageError, r"is compressed \(zstd\)"),
        (b"", InvalidContent, "cut off"),
        (tar[: len(tar) // 2], InvalidContent, r"file is no archive that can be used: it ends .* cut off"),
        (b"{}", InvalidContent, "cut off"),
        (json.dumps([*range(1000)]).encode(), InvalidContent, "it is no tar"),
    ]:
        path.write_bytes(content)
        with pytest.raises(error, match=message):
            ArchiveStore(path)
    with pytest.raises(UsageError, match="is a folder") as caught:
        ArchiveStore(tmp_path)
    assert caught.value.hint == f"oci:{tmp_path} names an OCI layout in a folder"
    with pytest.raises(NotFound, match="there is no file"):
        ArchiveStore(tmp_path / "missing")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="is not a regular file"):
        ArchiveStore(tmp_path / "pipe")


def test_blobs_beyond_8_gib(tmp_path: Path) -> None:
    """Sparse files: what follows a layer of 9 GiB is found only by the right size."""
    size = 9 * GIB + 5
    path = tmp_path / "weights"
    with path.open("wb") as f:
        f.write(b"begin")
        f.seek(size - 3)
        f.write(b"end")
    # Not hashed, which would take seconds: an archive takes digests on trust until they are used.
    layer = Descriptor(media_type=media_types.LAYER_TAR, digest=Digest.of(b"stands for 9 GiB"), size=size)
    manifest = Manifest(config=Descriptor.of(media_types.EMPTY, b"{}"), layers=(layer,))
    blobs = {
        layer.digest: ByteMap([FileRange(path=path, offset=0, size=size)]),
        Digest.of(b"{}"): ByteMap([Literal(b"{}")]),
        manifest.digest: ByteMap([Literal(manifest.content)]),
    }
    write_sparse(archive_content(blobs, [named(manifest.descriptor)], {}), tmp_path / "a.tar")
    archive = ArchiveStore(tmp_path / "a.tar")
    assert Names(archive).only() == manifest.descriptor
    for digest, blob in blobs.items():
        assert archive.size(digest) == blob.size
    with archive.open(layer.digest, 0, 5) as reader:
        assert reader.read() == b"begin"
    with archive.open(layer.digest, size - 3) as reader:
        assert reader.read() == b"end"
