"""The digest memo: only what this user hashed, only for files that are exactly as they were."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from modelcar.errors import StorageError
from modelcar.layers.bytemap import FileRange, Literal
from modelcar.layers.hashing import LayerDigests, hash_layer
from modelcar.layers.tar import Entry, VirtualTar, build_tar
from modelcar.store import memo
from modelcar.store.memo import DigestMemo, layer_key
from tests.support.trees import Source

MINUTE = 60 * 10**9


class Setting:
    """A layer of one file, and a memo in a folder that does not exist yet."""

    def __init__(self, folder: Path) -> None:
        self.source = Source(folder / "shard", b"w" * 70_000)
        self.path = folder / "home" / "memo" / "layers.sqlite"
        self.memo = DigestMemo(self.path)
        self.entry = Entry(path="models/shard", content=self.source.range())
        self.layer: VirtualTar = build_tar([self.entry])
        self.digests: LayerDigests = hash_layer(self.layer, content_digests=lambda _: True)
        key = layer_key([self.entry], ["models/shard"])
        assert key is not None
        self.key = key
        self.later = time.time_ns() + MINUTE

    def put(self) -> None:
        self.memo.put(self.key, self.digests, [self.source.stamp], self.later)

    def get(self) -> LayerDigests | None:
        return self.memo.get(self.key, self.layer.content.size, self.layer.payloads)


@pytest.fixture
def given(tmp_path: Path) -> Setting:
    return Setting(tmp_path)


def test_what_was_hashed_is_known_again(given: Setting) -> None:
    assert given.get() is None
    assert not given.path.parent.exists()  # asking creates nothing
    given.put()
    assert given.get() == given.digests
    assert DigestMemo(given.path).get(given.key, given.layer.content.size, given.layer.payloads) == given.digests
    given.put()
    assert given.path.stat().st_mode & 0o777 == 0o600
    assert given.path.parent.stat().st_mode & 0o777 == 0o700


def test_a_file_written_just_before_is_not_remembered(given: Setting) -> None:
    now = given.source.stamp.mtime_ns
    for started_ns in (now, now + 10**7, now - MINUTE):
        given.memo.put(given.key, given.digests, [given.source.stamp], started_ns)
    settled = replace(given.source.stamp, mtime_ns=1, ctime_ns=1)
    given.memo.put(given.key, given.digests, [settled, given.source.stamp], now)
    assert given.get() is None


@pytest.mark.parametrize("part", ["device", "inode", "size", "mtime_ns", "ctime_ns"])
def test_every_part_of_the_stamp_counts(given: Setting, part: str) -> None:
    stamp = replace(given.source.stamp, **{part: getattr(given.source.stamp, part) + 1})
    content = FileRange(path=given.source.path, offset=0, size=70_000, stamp=stamp)
    assert layer_key([replace(given.entry, content=content)], ["models/shard"]) != given.key


@pytest.mark.parametrize(
    "change",
    [
        lambda e: [replace(e, path="models/other")],
        lambda e: [replace(e, executable=True)],
        lambda e: [replace(e, content=replace(e.content, offset=1))],
        lambda e: [replace(e, content=replace(e.content, size=1))],
        lambda e: [e, replace(e, path="models/two")],
        lambda _: [],
    ],
)
def test_everything_else_that_a_digest_depends_on_counts(
    given: Setting, change: Callable[[Entry], list[Entry]]
) -> None:
    assert layer_key(change(given.entry), ["models/shard"]) != given.key
    assert layer_key([given.entry], []) != given.key


def test_where_the_file_lies_does_not_count(given: Setting) -> None:
    elsewhere = FileRange(path=Path("/moved"), offset=0, size=70_000, stamp=given.source.stamp)
    assert layer_key([replace(given.entry, content=elsewhere)], ["models/shard"]) == given.key


def test_content_without_a_stamp_has_no_key(given: Setting) -> None:
    assert layer_key([replace(given.entry, content=Literal(b"x"))], []) is None
    unstamped = FileRange(path=given.source.path, offset=0, size=1)
    assert layer_key([given.entry, replace(given.entry, content=unstamped)], []) is None


def test_another_chunking_is_not_taken_over(given: Setting) -> None:
    given.put()
    other = build_tar([replace(given.entry, content=Literal(bytes(9 << 20)))])
    assert given.memo.get(given.key, other.content.size, other.payloads) is None


def link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("not-yet"))


NOT_PRIVATE: list[Callable[[Path], object]] = [
    *(link, pipe, dangling),
    lambda path: path.chmod(0o640),
    lambda path: path.chmod(0o604),
    lambda path: path.chmod(0o620),
    lambda path: path.parent.chmod(0o770),
    lambda path: path.parent.chmod(0o777),
]


@pytest.mark.parametrize("change", NOT_PRIVATE)
def test_a_memo_that_others_could_have_written(given: Setting, change: Callable[[Path], object]) -> None:
    given.put()
    change(given.path)
    for use in (given.get, given.put):
        with pytest.raises(StorageError, match=r"private|cannot open"):
            use()
    assert not given.path.with_name("not-yet").exists()


@pytest.mark.root
@pytest.mark.parametrize("which", [lambda path: path, lambda path: path.parent])
def test_a_memo_of_another_user(given: Setting, which: Callable[[Path], Path]) -> None:
    given.put()
    os.chown(which(given.path), 12345, -1)
    for use in (given.get, given.put):
        with pytest.raises(StorageError, match="private"):
            use()


@pytest.mark.parametrize(
    "value", ["", "[]", "{}", '"x"', "null", '{"chunks":5}', '{"chunks":["zz","b","c"]}', "{", '{"chunks":[1,2,3]}']
)
def test_a_damaged_entry(given: Setting, value: str) -> None:
    given.put()
    with sqlite3.connect(given.path) as db:
        db.execute("UPDATE layers SET value = ?", (value,))
    db.close()
    with pytest.raises(StorageError, match="damaged") as caught:
        given.get()
    assert caught.value.hint == "remove it; it is made anew"


@pytest.mark.parametrize(
    "damage", [b"not a database at all, but long enough to be looked at" * 100, b"SQLite format 3\0"]
)
def test_a_damaged_file(given: Setting, damage: bytes) -> None:
    given.put()
    given.path.write_bytes(damage)
    for use in (given.get, given.put):
        with pytest.raises(StorageError, match="damaged"):
            use()
    given.path.unlink()
    given.put()
    assert given.get() == given.digests


def test_a_memo_in_use_is_not_called_damaged(given: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    given.put()
    monkeypatch.setattr(memo, "_WAIT", 0.0)
    with sqlite3.connect(given.path, isolation_level=None) as db:
        db.execute("BEGIN EXCLUSIVE")
        for use in (given.get, given.put):
            with pytest.raises(StorageError, match=r"cannot use the digest memo .*: database is locked"):
                use()
        db.execute("ROLLBACK")
    db.close()
    assert given.get() == given.digests


@pytest.mark.slow
def test_using_it_drops_no_lock_of_another_thread(given: Setting) -> None:
    """POSIX locks of a process go when it closes any descriptor of the file; SQLite corrupts the database then."""
    given.put()
    program = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN IMMEDIATE')"
    with sqlite3.connect(given.path, isolation_level=None) as db:
        db.execute("BEGIN IMMEDIATE")
        assert given.get() == given.digests
        other = subprocess.run([sys.executable, "-c", program, given.path], capture_output=True, text=True)
        assert "database is locked" in other.stderr
        db.execute("ROLLBACK")
    db.close()


def test_another_schema(given: Setting) -> None:
    given.put()
    with sqlite3.connect(given.path) as db:
        db.execute("DROP TABLE layers")
        db.execute("CREATE TABLE layers (a)")
    db.close()
    with pytest.raises(StorageError, match="damaged"):
        given.get()


WRITER = """
import sys
from pathlib import Path
from modelcar.layers.hashing import LayerDigests
from modelcar.oci import Digest
from modelcar.store.memo import DigestMemo
memo = DigestMemo(Path(sys.argv[1]))
for i in range(30):
    memo.put(f"{sys.argv[2]} {i}", LayerDigests(digest=Digest.of(b""), chunks=(), files={}), [], 0)
"""


@pytest.mark.slow
def test_many_writers_at_once(tmp_path: Path) -> None:
    path = tmp_path / "memo" / "layers.sqlite"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, path, str(i)]) for i in range(6)]
    assert [writer.wait(60) for writer in writers] == [0] * 6
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT count(*) FROM layers").fetchone() == (180,)
    db.close()
