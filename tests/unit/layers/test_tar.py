"""Layouts of virtual tars that are refused, and the two rules that make a layer worth having."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelcar.errors import SourceChanged, UnsafePath
from modelcar.layers.bytemap import Literal
from modelcar.layers.hashing import hash_layer
from modelcar.layers.tar import ALIGN_FROM, ALIGNMENT, Entry, build_tar
from tests.support.trees import Source, entries_of, random_tree


def entry(path: str, content: bytes = b"x") -> Entry:
    return Entry(path=path, content=Literal(content))


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/..",
        "../a",
        "a/./b",
        "a\0b",
        "a/\udce9",
        ".wh.a",
        "a/.wh..wh..opq",
        "a/.wh.b/c",
    ],
)
def test_paths_that_no_layer_may_hold(path: str) -> None:
    with pytest.raises(UnsafePath) as caught:
        build_tar([entry("fine"), entry(path)])
    str(caught.value).encode()  # can be shown


@pytest.mark.parametrize("paths", [["a", "a"], ["a", "a/b"], ["a/b/c", "a/b"], ["x/y/z", "x"]])
def test_two_sources_for_one_path(paths: list[str]) -> None:
    with pytest.raises(UnsafePath):
        build_tar([entry(path) for path in paths])
    same = entry("a")
    with pytest.raises(UnsafePath, match="two sources"):
        build_tar([same, same])


@pytest.mark.parametrize("path", ["a", "wh.a", "a.wh.", "...", "..a", "-rf", "a b", "a\\b", "C:", "*", "~"])
def test_odd_paths_that_are_fine(path: str) -> None:
    assert [p.path for p in build_tar([entry(f"models/{path}")]).payloads] == [f"models/{path}"]


def test_the_empty_layer_is_a_trailer() -> None:
    assert [s.size for s in build_tar([]).content.segments()] == [1024]


@pytest.mark.parametrize("name", ["n" * length for length in (1, 92, 93, 94, 99, 100, 255)])
def test_every_large_payload_is_aligned(name: str) -> None:
    """Whatever stands before it: names, folders, and small payloads that move it block by block."""
    for filler in range(0, 9 * 512, 512):
        layer = build_tar(
            [entry("a", bytes(filler)), entry(f"models/{name}", bytes(ALIGN_FROM)), entry("z", bytes(ALIGN_FROM))]
        )
        assert [p.offset % ALIGNMENT for p in layer.payloads if p.size >= ALIGN_FROM] == [0, 0]


def test_a_files_chunks_depend_on_its_content_alone(tmp_path: Path) -> None:
    shard = random_tree(tmp_path, {"shard": 10_000_000})["shard"]
    alone = build_tar([Entry(path="models/shard", content=shard.range())])
    crowded = build_tar(
        [
            *(entry(f"models/a{i}", bytes(i * 999)) for i in range(9)),
            Entry(path="models/" + "é" * 99, content=shard.range()),
        ]
    )
    found = []
    for layer in (alone, crowded):
        payload = layer.payloads[-1]
        chunks = [c for c in hash_layer(layer).chunks if payload.offset <= c.offset < payload.offset + payload.size]
        found.append([(c.offset - payload.offset, c.size, c.digest) for c in chunks])
    assert found[0] == found[1]
    assert [size for _, size, _ in found[0]] == [4 << 20, 4 << 20, 10_000_000 - (8 << 20)]


def test_building_reads_nothing(tmp_path: Path) -> None:
    tree = random_tree(tmp_path, {"a/shard": 100_000, "b": 10})
    for source in tree.values():
        source.path.unlink()
    layer = build_tar(entries_of(tree))
    with pytest.raises(SourceChanged):
        hash_layer(layer)


def test_hashing_tells_how_far_it_is(tmp_path: Path) -> None:
    layer = build_tar([Entry(path="shard", content=Source(tmp_path / "s", bytes(5 << 20)).range())])
    steps: list[int] = []
    hash_layer(layer, advance=steps.append)
    assert sum(steps) == layer.content.size
    assert max(steps) <= 4 << 20
