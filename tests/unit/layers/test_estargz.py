"""eStargz layers, read back by a reader that knows nothing of ours and goes by footer and table alone."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from modelcar.errors import SourceChanged, UnsafePath
from modelcar.layers.bytemap import ByteMap, GzippedRange, Literal
from modelcar.layers.estargz import TOC_DIGEST, UNCOMPRESSED_SIZE, EstargzPlan, plan_estargz
from modelcar.layers.estargzhash import hash_estargz
from modelcar.layers.hashing import CHUNK_SIZE, chunk_bounds
from modelcar.layers.tar import Entry
from modelcar.oci import Digest
from tests.support.estargz import Estargz, one_member, read_estargz
from tests.support.trees import Source, entries_of, random_tree

SIZES = [0, 1, 511, 512, 65_534, 65_535, 65_536, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, 2 * CHUNK_SIZE]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Source]:
    sizes = {f"models/{size:08}": size for size in SIZES} | {"models/a/deep/er": 70_000}
    return random_tree(tmp_path_factory.mktemp("tree"), sizes)


def blob_of(plan: EstargzPlan) -> bytes:
    with plan.content(hash_estargz(plan)).open() as reader:
        return reader.read()


@pytest.fixture(scope="module")
def plan(tree: dict[str, Source]) -> EstargzPlan:
    return plan_estargz(entries_of(tree))


@pytest.fixture(scope="module")
def estargz(plan: EstargzPlan) -> Estargz:
    return read_estargz(blob_of(plan))


def test_files_come_back_from_single_members(tree: dict[str, Source], estargz: Estargz) -> None:
    files = estargz.files()
    assert files.pop(".no.prefetch.landmark") == b"\x0f"
    assert files == {path: source.content for path, source in tree.items()}


def test_as_a_whole_it_is_an_ordinary_gzipped_tar(tree: dict[str, Source], estargz: Estargz) -> None:
    with tarfile.open(fileobj=io.BytesIO(estargz.blob), mode="r:gz") as tar:
        listed = {m.name: (m.isdir(), m.mode, m.size) for m in tar}
    entries = {e["name"].rstrip("/"): e for e in estargz.entries if e["type"] != "chunk"}
    told = {name: (e["type"] == "dir", e["mode"], e.get("size", 0)) for name, e in entries.items()}
    assert listed == {**told, "stargz.index.json": (False, 0o644, len(estargz.toc))}
    assert tree.keys() <= listed.keys()


def test_what_is_said_before_hashing_is_true_afterwards(plan: EstargzPlan, estargz: Estargz) -> None:
    assert plan.size == len(estargz.blob)
    assert plan.tar_size == len(gzip.decompress(estargz.blob))
    assert plan.toc_size == len(estargz.toc)
    assert plan.toc_offset == estargz.toc_offset


def test_digests(plan: EstargzPlan, estargz: Estargz) -> None:
    found = hash_estargz(plan)
    tar = gzip.decompress(estargz.blob)
    assert found.blob == Digest.of(estargz.blob)
    assert found.digest == Digest.of(tar)
    assert [(c.offset, c.size) for c in found.chunks] == list(chunk_bounds(len(tar), plan.tar.payloads))
    assert all(c.digest == Digest.of(tar[c.offset : c.offset + c.size]) for c in found.chunks)
    annotations = plan.annotations(plan.toc_digest(found))
    assert annotations[TOC_DIGEST] == f"sha256:{hashlib.sha256(estargz.toc).hexdigest()}"
    assert annotations[UNCOMPRESSED_SIZE] == str(len(tar))


def test_content_digests_change_nothing_else(tree: dict[str, Source], plan: EstargzPlan) -> None:
    found = hash_estargz(plan, content_digests=lambda payload: payload.path in tree)
    assert found.files == {path: Digest.of(source.content) for path, source in tree.items()}
    assert found.blob == hash_estargz(plan).blob


def test_no_weights_are_held(plan: EstargzPlan) -> None:
    segments = list(plan.content(hash_estargz(plan)).segments())
    assert sum(s.size for s in segments if isinstance(s, Literal)) < 40_000
    assert sum(isinstance(s, GzippedRange) for s in segments) == len([size for size in SIZES if size]) + 1


def test_progress_adds_up(plan: EstargzPlan) -> None:
    steps: list[int] = []
    hash_estargz(plan, advance=steps.append)
    assert sum(steps) == plan.size


def test_the_rules_of_the_table(estargz: Estargz) -> None:
    offsets = [e["offset"] for e in estargz.entries if "offset" in e]
    assert offsets == sorted(set(offsets))
    assert min(offsets) > 0
    for entry in estargz.entries:
        if entry["type"] == "chunk":
            assert {"offset", "chunkOffset", "chunkDigest"} <= entry.keys()
        if "offset" in entry:
            assert "chunkDigest" in entry
    chunked = [e for e in estargz.entries if e["name"] == f"models/{2 * CHUNK_SIZE:08}"]
    assert [(e["type"], e.get("chunkOffset"), e.get("chunkSize")) for e in chunked] == [
        ("reg", None, CHUNK_SIZE),
        ("chunk", CHUNK_SIZE, None),
    ]
    assert json.dumps(json.loads(estargz.toc), separators=(",", ":")).encode() == estargz.toc


def test_contents_in_memory_and_in_files_give_the_same(tree: dict[str, Source], estargz: Estargz) -> None:
    entries = [Entry(path=path, content=Literal(source.content)) for path, source in tree.items()]
    assert blob_of(plan_estargz(entries)) == estargz.blob
    split = [
        Entry(
            path=path,
            content=ByteMap([source.range(0, len(source.content) // 2), source.range(len(source.content) // 2)]),
        )
        for path, source in tree.items()
    ]
    assert blob_of(plan_estargz(split)) == estargz.blob


def test_a_layer_without_files() -> None:
    estargz = read_estargz(blob_of(plan_estargz([])))
    assert [e["name"] for e in estargz.entries] == [".no.prefetch.landmark"]


@pytest.mark.slow
def test_headers_of_very_many_empty_files_are_cut_as_everywhere() -> None:
    plan = plan_estargz([Entry(path=f"models/{i}", content=Literal(b"")) for i in range(9000)])
    found = hash_estargz(plan)
    assert [(c.offset, c.size) for c in found.chunks] == list(chunk_bounds(plan.tar_size, plan.tar.payloads))
    assert len(read_estargz(blob_of(plan)).files()) == 9001


def test_a_member_of_its_own_for_each_chunk(estargz: Estargz) -> None:
    starts = [e["offset"] for e in estargz.entries if "offset" in e]
    assert all(len(one_member(estargz.blob[start:])) <= CHUNK_SIZE for start in starts)


@pytest.mark.parametrize("path", ["stargz.index.json", ".no.prefetch.landmark"])
def test_names_that_the_format_keeps_for_itself(path: str) -> None:
    with pytest.raises(UnsafePath, match=path):
        plan_estargz([Entry(path=path, content=Literal(b"x"))])


def test_a_file_that_changes_is_noticed(tmp_path: Path) -> None:
    source = Source(tmp_path / "w", os.urandom(100_000)).settled()
    plan = plan_estargz([Entry(path="models/w", content=source.range())])
    content = plan.content(hash_estargz(plan))
    source.path.write_bytes(os.urandom(100_000))
    with pytest.raises(SourceChanged, match="changed"):
        hash_estargz(plan)
    with content.open() as reader, pytest.raises(SourceChanged, match="changed"):
        reader.read()
    with pytest.raises(SourceChanged, match="changed"):
        content.check()
