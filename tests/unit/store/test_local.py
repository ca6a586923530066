"""The user's store: where it lies, what a collection removes, and many processes at once."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from modelcar.errors import StorageError
from modelcar.layers.bytemap import ByteMap
from modelcar.oci import Digest
from modelcar.store import LocalStore, OciLayout, default_home
from modelcar.store.disk import lock, make_dirs
from tests.support.images import put_image, random_image, validate_in
from tests.support.trees import Source

ROOT = Path(__file__).parents[3]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "home")


@pytest.mark.parametrize(
    ("environment", "home"),
    [
        ({"MODELCAR_HOME": "/m", "XDG_DATA_HOME": "/x"}, "/m"),
        ({"XDG_DATA_HOME": "/x"}, "/x/modelcar"),
        ({"MODELCAR_HOME": "", "XDG_DATA_HOME": ""}, "~/.local/share/modelcar"),
    ],
)
def test_home(environment: dict[str, str], home: str) -> None:
    assert default_home(environment) == Path(home).expanduser()


def test_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Path:
        raise RuntimeError

    monkeypatch.setattr(Path, "home", none)
    with pytest.raises(StorageError, match="no home folder"):
        default_home({})


def test_a_collection_keeps_what_names_reach_and_nothing_else(store: LocalStore, tmp_path: Path) -> None:
    kept, dropped = random_image(1), random_image(2)
    for name, image in (("kept", kept), ("dropped", dropped)):
        store.names.put(name, put_image(store.content, image))
    unused = Source(tmp_path / "f", b"virtual")
    store.content.add_recipe(Digest.of(b"virtual"), ByteMap([unused.range()]))
    store.content.begin().write(b"left behind by a writer that died" * 1000)
    (store.content.root / ".index.json.0123456789ab").write_text("left behind")
    recipes = store.content.root / "recipes" / "sha256"
    (recipes / f".{'0' * 64}.json.0123456789ab").write_text("left behind")
    assert store.collect().removed == (Digest.of(b"virtual"),)
    store.names.remove("dropped")

    collection = store.collect()
    assert set(collection.removed) == set(dropped.blobs) - set(kept.blobs)
    assert collection.freed >= sum(map(len, (dropped.blobs[d] for d in collection.removed)))
    validate_in(store.content, store.names.get("kept"))
    assert set(store.content.digests()) == set(kept.blobs)
    assert [*(store.content.root / "ingest").iterdir(), *recipes.iterdir()] == []
    assert [p.name for p in sorted(store.content.root.glob(".*"))] == []


def test_nothing_is_removed_while_an_image_is_damaged(store: LocalStore) -> None:
    image = random_image(1)
    store.names.put("damaged", put_image(store.content, image))
    store.content.path(image.root.digest).unlink()
    before = set(store.content.digests())
    with pytest.raises(StorageError, match="damaged") as caught:
        store.collect()
    assert "modelcar rm" in str(caught.value.hint)
    assert set(store.content.digests()) == before
    store.names.remove("damaged")
    assert set(store.collect().removed) == before


def test_a_session_keeps_collections_out(store: LocalStore) -> None:
    with store.session(), store.session():
        with pytest.raises(StorageError, match="in use"):
            store.collect(wait=False)
        waiting = threading.Thread(target=store.collect)
        waiting.start()
        waiting.join(0.1)
        assert waiting.is_alive()
        store.content.begin().write(b"not swept")
        assert len(list((store.content.root / "ingest").iterdir())) == 1
    waiting.join(10)
    assert list((store.content.root / "ingest").iterdir()) == []


@pytest.mark.slow
def test_many_processes_at_once(tmp_path: Path) -> None:
    """They create the store together, name the same and other images, and one collects all the while."""
    home, rounds = tmp_path / "home", 12
    command = [sys.executable, "-m", "tests.support.contention", str(home)]
    workers = [subprocess.Popen([*command, str(i), str(rounds)], cwd=ROOT) for i in range(3)]
    collector = subprocess.Popen([*command, "gc", str(3 * rounds)], cwd=ROOT)
    assert [process.wait(120) for process in [*workers, collector]] == [0, 0, 0, 0]
    store = LocalStore(home)
    removed = {f"{me} {i - 1}" for me in range(3) for i in range(2, rounds, 3)}
    assert set(store.names.list()) == {f"{me} {i}" for me in range(3) for i in range(rounds)} - removed | {"shared"}
    store.collect()
    for root in store.names.list().values():
        validate_in(store.content, root)


def test_two_that_create_a_layout_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process creates it, and names an image, just before this one would write its empty index."""
    root = tmp_path / "layout"
    real = OciLayout._create

    def late(self: OciLayout) -> None:
        monkeypatch.setattr(OciLayout, "_create", real)
        other = OciLayout(root)
        (root / "index.json").write_text('{"schemaVersion":2,"manifests":[],"annotations":{"filled":"yes"}}')
        assert other.root == root
        real(self)

    monkeypatch.setattr(OciLayout, "_create", late)
    OciLayout(root)
    assert "filled" in (root / "index.json").read_text()


@pytest.mark.parametrize("held", [".", "blobs"])
def test_whoever_locks_a_folder_may_create_a_layout_in_it(tmp_path: Path, held: str) -> None:
    """`flock` belongs to the open file, so a second lock in the same process would wait for ever."""
    make_dirs(tmp_path / held)
    with lock(tmp_path / held, exclusive=True):
        OciLayout(tmp_path)


def test_a_folder_that_one_may_not_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "mkdir", denied)
    with pytest.raises(StorageError, match=r"cannot create .*layout.*Permission denied") as caught:
        OciLayout(tmp_path / "layout")
    assert "owner and mode" in str(caught.value.hint)


def test_a_file_where_the_store_should_be(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(StorageError, match="cannot create"):
        LocalStore(tmp_path / "home")
    (tmp_path / "layout").mkdir()
    (tmp_path / "layout" / "oci-layout").symlink_to("oci-layout")
    with pytest.raises(StorageError, match="cannot read"):
        OciLayout(tmp_path / "layout")
