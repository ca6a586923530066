"""The libraries of stargz-snapshotter and soci-snapshotter read what we write, by what it says alone.

Both are compiled from their published Go modules; SOCI's needs a C compiler and zlib with headers.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from modelcar.layers.estargz import plan_estargz
from modelcar.layers.estargzhash import hash_estargz
from modelcar.layers.hashing import CHUNK_SIZE, hash_layer
from modelcar.layers.soci.ztoc import TOOL, ztoc
from modelcar.layers.tar import Entry, build_tar
from modelcar.oci import Digest
from tests.support.golang import build_checkout
from tests.support.trees import Source, entries_of, random_tree

pytestmark = pytest.mark.conformance

PROGRAMS = Path(__file__).parent / "go"
SIZES = {
    "models/config.json": 20,
    "models/empty": 0,
    "models/one": 1,
    "models/block": 65_535,
    "models/block-and-one": 65_536,
    "models/chunk": CHUNK_SIZE,
    "models/chunk-and-one": CHUNK_SIZE + 1,
    "models/shards/model-00001-of-00002.safetensors": 3 * CHUNK_SIZE + 77,
    f"models/{'d' * 150}/{'n' * 150}": 70_000,
    "models/模型/é.json": 100,
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Source]:
    return random_tree(tmp_path_factory.mktemp("tree"), SIZES)


def digests_of(tree: dict[str, Source]) -> dict[str, str]:
    return {path: hashlib.sha256(source.content).hexdigest() for path, source in tree.items()}


def run(program: Path, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([program, *arguments], capture_output=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def estargz_reader() -> Path:
    return build_checkout(PROGRAMS / "estargz", "estargz")


@pytest.fixture(scope="module")
def ztoc_tool() -> Path:
    return build_checkout(PROGRAMS / "ztoc", "ztoc", cgo=True)


@pytest.fixture(scope="module")
def estargz(tree: dict[str, Source], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Digest]:
    plan = plan_estargz(entries_of(tree))
    found = hash_estargz(plan)
    path = tmp_path_factory.mktemp("estargz") / "blob"
    with plan.content(found).open() as reader:
        path.write_bytes(reader.read())
    return path, Digest.of(plan.toc(found.chunks))


def test_stargz_snapshotters_library_reads_every_file(
    tree: dict[str, Source], estargz: tuple[Path, Digest], estargz_reader: Path
) -> None:
    done = run(estargz_reader, estargz[0], str(estargz[1]))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    files = {name: entry["sha256"] for name, entry in found.items() if entry["type"] == "reg"}
    assert files.pop(".no.prefetch.landmark") == hashlib.sha256(b"\x0f").hexdigest()
    assert files == digests_of(tree)
    assert {(e["type"], e["mode"]) for name, e in found.items() if name} == {("reg", 0o644), ("dir", 0o755)}


def test_it_refuses_another_table_and_another_chunk(
    estargz: tuple[Path, Digest], estargz_reader: Path, tmp_path: Path
) -> None:
    done = run(estargz_reader, estargz[0], str(Digest.of(b"another")))
    assert b"invalid TOC JSON" in done.stderr
    blob = bytearray(estargz[0].read_bytes())
    blob[len(blob) // 2] ^= 1
    (tmp_path / "blob").write_bytes(blob)
    assert run(estargz_reader, tmp_path / "blob", str(estargz[1])).returncode != 0


@pytest.mark.parametrize("names", [list(SIZES), ["models/one"], ["models/chunk", "models/chunk-and-one"]])
def test_socis_library_makes_the_same_ztoc_byte_for_byte(
    tree: dict[str, Source], ztoc_tool: Path, tmp_path: Path, names: list[str]
) -> None:
    layer = build_tar(entries_of({name: tree[name] for name in names}))
    with layer.content.open() as reader:
        (tmp_path / "layer").write_bytes(reader.read())
    done = run(ztoc_tool, "write", tmp_path / "layer", TOOL)
    assert done.returncode == 0, done.stderr
    assert ztoc(layer, hash_layer(layer, spans=True).spans) == done.stdout


def test_socis_library_takes_every_file_out_by_our_ztoc(
    tree: dict[str, Source], ztoc_tool: Path, tmp_path: Path
) -> None:
    layer = build_tar([Entry(path=path, content=source.range()) for path, source in tree.items()])
    with layer.content.open() as reader:
        (tmp_path / "layer").write_bytes(reader.read())
    (tmp_path / "ztoc").write_bytes(ztoc(layer, hash_layer(layer, spans=True).spans))
    done = run(ztoc_tool, "read", tmp_path / "layer", tmp_path / "ztoc")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == digests_of(tree)
