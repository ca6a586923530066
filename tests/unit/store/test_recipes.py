from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from modelcar.errors import NotFound, SourceChanged, StorageError
from modelcar.files import FileStamp
from modelcar.layers.bytemap import ByteMap, FileRange, Literal, Zeros
from modelcar.layers.hashing import hash_layer
from modelcar.layers.tar import build_tar
from modelcar.oci import Digest
from modelcar.store import OciLayout
from modelcar.store.recipes import dump_recipe, load_recipe
from tests.support.examples import examples
from tests.support.trees import Source, entries_of, random_tree, segments_of

DIGEST = Digest.of(b"some layer")
STAMP = FileStamp(device=1, inode=2, size=100, mtime_ns=3, ctime_ns=4)
MAP = ByteMap(
    [Literal(b"head"), FileRange(path=Path("/a/b"), offset=10, size=20, stamp=STAMP), Zeros(1024), Literal(b"\0\xff")]
)


@examples(50, HealthCheck.function_scoped_fixture)
@given(st.data())
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    source = Source(tmp_path_factory.getbasetemp() / "recipe source", b"x" * 300)
    content = ByteMap(data.draw(segments_of([source])))
    assert load_recipe(dump_recipe(DIGEST, content), DIGEST) == content


@pytest.mark.parametrize(
    "stamp",
    [
        {"inode": (1 << 64) - 1},  # overlay and network file systems set the highest bits
        {"device": (1 << 63) + 5},
        {"mtime_ns": -1},  # before 1970
        {"mtime_ns": -(10**18), "ctime_ns": -5},
    ],
)
def test_odd_stamps(stamp: dict[str, int]) -> None:
    values = {"device": 1, "inode": 2, "size": 9, "mtime_ns": 3, "ctime_ns": 4, **stamp}
    content = ByteMap([FileRange(path=Path("/a"), offset=0, size=9, stamp=FileStamp(**values))])
    assert load_recipe(dump_recipe(DIGEST, content), DIGEST) == content


@pytest.mark.parametrize("name", [b"caf\xe9", "\u6a21\u578b".encode(), b"a\nb", b"<&>", b"\xff\xfe"])
def test_folders_named_in_any_bytes(tmp_path: Path, name: bytes) -> None:
    source = Source(tmp_path / os.fsdecode(name) / "shard", b"weights")
    content = load_recipe(dump_recipe(DIGEST, ByteMap([source.range()])), DIGEST)
    with content.open() as reader:
        assert reader.read() == b"weights"


@pytest.mark.parametrize("path", [Path("relative/path"), Path("..")])
def test_relative_paths_mean_nothing_elsewhere(path: Path) -> None:
    with pytest.raises(ValueError, match="not absolute"):
        dump_recipe(DIGEST, ByteMap([FileRange(path=path, offset=0, size=1, stamp=STAMP)]))


def test_files_without_a_stamp() -> None:
    with pytest.raises(ValueError, match="no stamp"):
        dump_recipe(DIGEST, ByteMap.of_file(Path("/a"), 1))


@pytest.mark.slow
def test_thousands_of_small_files() -> None:
    parts = [
        s
        for i in range(8_000)
        for s in (Literal(bytes(512)), FileRange(path=Path(f"/{i}"), offset=0, size=9, stamp=STAMP))
    ]
    content = ByteMap(parts)
    assert load_recipe(dump_recipe(DIGEST, content), DIGEST) == content


def changed(*steps: str | int, value: Any) -> bytes:
    document = json.loads(dump_recipe(DIGEST, MAP))
    place = document
    for step in steps[:-1]:
        place = place[step]
    if value is ...:
        del place[steps[-1]]
    else:
        place[steps[-1]] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"\0" * 500,  # what some file systems leave after a crash
        dump_recipe(DIGEST, MAP)[:-10],
        changed("version", value=2),
        changed("version", value=...),
        changed("digest", value=str(Digest.of(b"another"))),
        changed("size", value=MAP.size + 1),
        changed("segments", value=...),
        changed("segments", 0, value={}),
        changed("segments", 0, "literal", value="!"),
        changed("segments", 0, "literal", value="é"),
        changed("segments", 0, "literal", value=7),
        changed("segments", 1, "stamp", value=...),
        changed("segments", 1, "stamp", "inode", value="2"),
        changed("segments", 1, "stamp", "mtime_ns", value=1 << 70),
        changed("segments", 1, "path", value="a/b"),
        changed("segments", 1, "path", value="/a\0b"),
        changed("segments", 1, "pathBytes", value="/"),
        changed("segments", 1, "offset", value=-1),
        changed("segments", 1, "offset", value=81),
        changed("segments", 2, "zeros", value=-1024),
    ],
)
def test_damaged_recipes(tmp_path: Path, raw: bytes) -> None:
    with pytest.raises(StorageError, match="damaged") as caught:
        load_recipe(raw, DIGEST)
    assert caught.value.hint == "build the image again"
    layout = OciLayout(tmp_path / "s", recipes=True)
    layout.add_recipe(DIGEST, MAP)
    layout.recipe_path(DIGEST).write_bytes(raw)
    with pytest.raises(StorageError, match="damaged"):
        layout.open(DIGEST)
    layout.add_recipe(DIGEST, MAP)  # building again mends it
    assert layout.map(DIGEST) == MAP
    layout.delete(DIGEST)


def test_foreign_layouts_have_no_recipes(tmp_path: Path) -> None:
    secret = Source(tmp_path / "secret", b"private key")
    digest = Digest.of(secret.content)
    OciLayout(tmp_path / "s", recipes=True).add_recipe(digest, ByteMap([secret.range()]))
    foreign = OciLayout(tmp_path / "s")
    assert digest not in foreign
    assert not foreign.is_virtual(digest)
    with pytest.raises(NotFound):
        foreign.open(digest)
    with pytest.raises(StorageError, match="takes no recipes"):
        foreign.add_recipe(digest, MAP)


def test_a_virtual_blob_is_like_any_other_until_its_source_changes(tmp_path: Path) -> None:
    tree = random_tree(tmp_path / "model", {"models/shard": 100_000, "models/config.json": 10})
    layer = build_tar(entries_of(tree))
    digest = hash_layer(layer).digest
    store = OciLayout(tmp_path / "s", recipes=True)
    store.add_recipe(digest, layer.content)
    assert digest in store
    assert store.is_virtual(digest)
    assert store.size(digest) == layer.content.size
    assert list(store.digests()) == [digest]
    with store.open(digest) as reader:
        assert Digest.of(reader.read()) == digest
    assert sum(p.stat().st_size for p in (tmp_path / "s").rglob("*") if p.is_file()) < 10_000

    tree["models/shard"].path.write_bytes(b"y" * 100_000)
    with store.open(digest, 10_000) as reader, pytest.raises(SourceChanged, match="models/shard"):
        reader.read(1)
    store.delete(digest)
    assert digest not in store


def test_a_blob_takes_the_place_of_its_recipe(tmp_path: Path) -> None:
    source = Source(tmp_path / "f", b"content")
    store = OciLayout(tmp_path / "s", recipes=True)
    digest = Digest.of(source.content)
    store.add_recipe(digest, ByteMap([source.range()]))
    store.materialise(digest, store.map(digest))
    source.path.unlink()
    assert not store.is_virtual(digest)
    assert list(store.digests()) == [digest]
    with store.open(digest) as reader:
        assert reader.read() == b"content"
    store.delete(digest)
    assert digest not in store
