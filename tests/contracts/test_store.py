"""What every `Store` does, over all of them."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from modelcar.errors import DigestMismatch, NotFound, StorageError
from modelcar.oci import Descriptor, Digest
from modelcar.store import MemoryStore, OciLayout, Store, read_document, write_document

HELLO = b"hello, store"
DIGEST = Digest.of(HELLO)
STORES: dict[str, Callable[[Path], Store]] = {
    "memory": lambda _: MemoryStore(),
    "layout": lambda path: OciLayout(path / "layout"),
    "layout with recipes": lambda path: OciLayout(path / "layout", recipes=True),
}


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return STORES[request.param](tmp_path)


def put(store: Store, content: bytes, digest: Digest | None = None) -> Digest:
    with store.begin(digest) as writer:
        writer.write(content)
        return writer.commit()


def is_absent(store: Store, digest: Digest) -> bool:
    if digest in store:
        return False
    for ask in (store.size, store.map, store.open, store.delete):
        with pytest.raises(NotFound, match=str(digest)):
            ask(digest)
    return True


@pytest.mark.parametrize("content", [b"", b"x", HELLO, bytes(3 << 20)])
def test_what_is_written_can_be_read(store: Store, content: bytes) -> None:
    digest = put(store, content)
    assert digest == Digest.of(content)
    assert digest in store
    assert store.size(digest) == store.map(digest).size == len(content)
    with store.open(digest) as reader:
        assert reader.read() == content
    assert is_absent(store, Digest.of(b"other"))


def test_any_range(store: Store) -> None:
    put(store, HELLO)
    for offset in range(len(HELLO) + 1):
        for length in range(len(HELLO) - offset + 1):
            with store.open(DIGEST, offset, length) as reader:
                assert reader.read() == HELLO[offset : offset + length]
        with store.open(DIGEST, offset) as reader:
            assert reader.read(3) == HELLO[offset : offset + 3]


@pytest.mark.parametrize(("offset", "length"), [(-1, None), (-1, 1), (13, None), (0, 13), (12, 1), (5, -1)])
def test_no_range_outside(store: Store, offset: int, length: int | None) -> None:
    put(store, HELLO)
    with pytest.raises(ValueError, match="not within"):
        store.open(DIGEST, offset, length)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_pieces_of_any_kind_and_size(store: Store, kind: Callable[[bytes], bytes]) -> None:
    with store.begin() as writer:
        for i, piece in enumerate([b"hel", b"", b"lo, store"]):
            assert writer.size == (0, 3, 3)[i]
            writer.write(kind(piece))
        assert writer.size == len(HELLO)
        assert writer.commit(DIGEST) == DIGEST


def test_a_buffer_may_be_reused(store: Store) -> None:
    buffer = bytearray(b"aaaa")
    with store.begin() as writer:
        writer.write(buffer)
        buffer[:] = b"bbbb"
        writer.write(memoryview(buffer)[:2])
        buffer[:] = b"cccc"
        assert writer.commit() == Digest.of(b"aaaabb")


def test_nothing_is_visible_before_the_commit(store: Store) -> None:
    with store.begin(DIGEST) as writer:
        writer.write(HELLO)
        assert is_absent(store, DIGEST)
        writer.commit()
        assert DIGEST in store


def test_leaving_without_a_commit_aborts(store: Store) -> None:
    with store.begin(DIGEST) as writer:
        writer.write(HELLO)
    assert is_absent(store, DIGEST)
    writer = store.begin(DIGEST)
    writer.write(HELLO)
    writer.__exit__(KeyError, KeyError(), None)
    assert is_absent(store, DIGEST)
    writer.abort()


@pytest.mark.parametrize("told", ["begin", "commit"])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("content", [HELLO[:-1], HELLO + b"!", b"jello, store", b""])
def test_other_content_is_refused(store: Store, told: str, algorithm: str, content: bytes) -> None:
    digest = Digest.of(HELLO, algorithm)
    with store.begin(digest if told == "begin" else None) as writer:
        writer.write(content)
        with pytest.raises(DigestMismatch, match=str(digest)):
            writer.commit(digest if told == "commit" else None)
    assert is_absent(store, digest)
    assert is_absent(store, Digest.of(content))


def test_commit_overrides_what_begin_was_told(store: Store) -> None:
    with store.begin(Digest.of(b"other")) as writer:
        writer.write(HELLO)
        assert writer.commit(DIGEST) == DIGEST


@pytest.mark.parametrize("expected", ["sha256", "sha512"])
def test_sha512(store: Store, expected: str) -> None:
    digest = Digest("sha512", hashlib.sha512(HELLO).hexdigest())
    with store.begin(Digest.of(HELLO, expected)) as writer:
        writer.write(HELLO)
        assert writer.commit(digest) == digest
    with store.open(digest) as reader:
        assert reader.read() == HELLO
    store.delete(digest)
    assert is_absent(store, digest)


def test_the_same_content_twice_and_at_once(store: Store) -> None:
    with store.begin() as first, store.begin() as second:
        first.write(HELLO)
        second.write(HELLO[:5])
        first.commit()
        second.write(HELLO[5:])
        assert second.commit() == DIGEST
        second.abort()
        first.abort()
    with store.open(DIGEST) as reader:
        assert reader.read() == HELLO


def test_deleting(store: Store) -> None:
    put(store, HELLO)
    store.delete(DIGEST)
    assert is_absent(store, DIGEST)
    assert put(store, HELLO) in store


def test_a_reader_survives_a_deletion_once_it_has_begun(store: Store) -> None:
    put(store, HELLO)
    with store.open(DIGEST) as reader:
        begun = reader.read(1)
        store.delete(DIGEST)
        assert begun + reader.read() == HELLO


def test_documents(store: Store) -> None:
    write_document(store, HELLO)
    write_document(store, HELLO)
    descriptor = Descriptor.of("text/plain", HELLO)
    assert read_document(store, descriptor) == HELLO


# Disks fail.


class FailingDisk:
    """Lets the first `budget` bytes through; then every write fails as on a full disk."""

    def __init__(self, budget: int, error: int = errno.ENOSPC) -> None:
        self.left, self.error, self._write, self._fsync = budget, error, os.write, os.fsync

    def write(self, fd: int, data: bytes | memoryview) -> int:
        if self.left == 0 and data:
            raise OSError(self.error, os.strerror(self.error))
        n = self._write(fd, memoryview(data)[: min(self.left, 1000)])
        self.left -= n
        return n

    def fsync(self, fd: int) -> None:
        if self.left == 0:
            raise OSError(self.error, os.strerror(self.error))
        self._fsync(fd)


@pytest.mark.parametrize("budget", [0, 1, 999, 2000, 4999, 5000])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: int, error: int) -> None:
    store = OciLayout(tmp_path / "layout")
    content = os.urandom(5000)
    disk = FailingDisk(budget, error)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", disk.write)
        patch.setattr(os, "fsync", disk.fsync)
        with pytest.raises(StorageError, match="cannot write") as caught:
            put(store, content)
    assert (caught.value.hint is None) == (error == errno.EIO)
    assert is_absent(store, Digest.of(content))
    assert list((tmp_path / "layout" / "ingest").iterdir()) == []
    assert put(store, content) in store


def test_short_writes_are_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = OciLayout(tmp_path / "layout")
    monkeypatch.setattr(os, "write", FailingDisk(1 << 30).write)
    content = os.urandom(5000)
    with store.open(put(store, content)) as reader:
        assert reader.read() == content
