"""zTOCs: what is where in a layer, read back and held against the layer itself."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from modelcar.layers.hashing import LayerDigests, hash_layer
from modelcar.layers.soci.ztoc import SPAN_SIZE, ztoc
from modelcar.layers.tar import VirtualTar, build_tar
from modelcar.oci import Digest
from tests.support.flatbuffers import Table, read_root
from tests.support.trees import entries_of, random_tree

SIZES = {
    "models/config.json": 20,
    "models/empty": 0,
    "models/model.safetensors": 2 * SPAN_SIZE + 12_345,
    "models/other.safetensors": 65_536,
    f"models/{'d' * 120}/{'n' * 120}.safetensors": 70_000,
}


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> VirtualTar:
    return build_tar(entries_of(random_tree(tmp_path_factory.mktemp("tree"), SIZES)))


@pytest.fixture(scope="module")
def digests(layer: VirtualTar) -> LayerDigests:
    return hash_layer(layer, spans=True)


@pytest.fixture(scope="module")
def blob(layer: VirtualTar) -> bytes:
    with layer.content.open() as reader:
        return reader.read()


@pytest.fixture(scope="module")
def root(layer: VirtualTar, digests: LayerDigests) -> Table:
    return read_root(ztoc(layer, digests.spans))


def test_it_says_what_it_is_of(root: Table, blob: bytes) -> None:
    assert (root.text(0), root.text(1)) == ("0.9", "modelcar")
    assert [root.scalar(number, "q") for number in (2, 3)] == [len(blob), len(blob)]


def test_spans_are_those_of_the_blob(root: Table, blob: bytes) -> None:
    info = root.table(5)
    spans = [blob[at : at + SPAN_SIZE] for at in range(0, len(blob), SPAN_SIZE)]
    assert info.texts(2) == [str(Digest.of(span)) for span in spans]
    assert info.scalar(1, "i") == len(spans) - 1
    assert info.scalar(0, "b", default=1) == 2  # uncompressed
    zinfo = read_root(info.octets(3))
    assert [zinfo.scalar(0, "i"), zinfo.scalar(1, "q"), zinfo.scalar(2, "q")] == [2, SPAN_SIZE, len(blob)]


def test_members_are_those_that_a_tar_reader_finds(root: Table, blob: bytes) -> None:
    told = [
        (
            member.text(0),
            member.text(1),
            member.scalar(2, "q"),
            member.scalar(3, "q"),
            member.scalar(5, "q"),
            {record.text(0): record.text(1) for record in member.tables(13)},
        )
        for member in root.table(4).tables(0)
    ]
    with tarfile.open(fileobj=io.BytesIO(blob)) as tar:
        found = [
            (
                m.name + "/" * m.isdir(),
                "dir" if m.isdir() else "reg",
                m.offset_data,
                m.size,
                m.mode,
                m.pax_headers,
            )
            for m in tar
        ]
    assert told == found
    assert any(records for *_, records in told)


def test_owners_links_and_times_are_empty(root: Table) -> None:
    for member in root.table(4).tables(0):
        assert [member.text(number) for number in (4, 8, 9)] == ["", "", ""]
        assert [member.scalar(number, "I") for number in (6, 7)] == [0, 0]
        assert member.text(10) == "1970-01-01T00:00:00Z"


@pytest.mark.parametrize("size", [SPAN_SIZE, SPAN_SIZE - 1024, SPAN_SIZE + 1])
def test_spans_at_the_border_of_a_layer(tmp_path: Path, size: int) -> None:
    layer = build_tar(entries_of(random_tree(tmp_path, {"w": size - 4096 - 1024 if size > 5120 else size})))
    with layer.content.open() as reader:
        blob = reader.read()
    spans = hash_layer(layer, spans=True).spans
    assert spans == tuple(Digest.of(blob[at : at + SPAN_SIZE]) for at in range(0, len(blob), SPAN_SIZE))


def test_spans_are_digested_only_where_they_are_wanted(layer: VirtualTar, digests: LayerDigests) -> None:
    plain = hash_layer(layer)
    assert plain.spans == ()
    assert (plain.digest, plain.chunks) == (digests.digest, digests.chunks)


def test_the_wrong_number_of_spans_is_a_mistake(layer: VirtualTar, digests: LayerDigests) -> None:
    with pytest.raises(ValueError, match="spans"):
        ztoc(layer, digests.spans[:-1])
