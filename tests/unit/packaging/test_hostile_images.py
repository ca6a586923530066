"""Images made to do harm: what they say of themselves is bounded and checked before it is believed."""

from __future__ import annotations

import io
import os
import random
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from modelcar.errors import InvalidContent, InvalidDocument, ModelcarError, Unreachable
from modelcar.layers.bytemap import Literal
from modelcar.layers.index import INDEX_PATH, ModelIndex
from modelcar.layers.tar import Entry, build_tar
from modelcar.oci import Descriptor, Digest, Reference, media_types
from modelcar.packaging.fetch import RegistrySource
from modelcar.packaging.inspect import parse_index_layer
from modelcar.packaging.unpack import Readable, unpack_model
from modelcar.registry import Registry
from tests.support.checkpoints import files_of
from tests.unit.packaging.layers import Layers

INDEX = ModelIndex(root="/models", layers=()).to_json()


@pytest.mark.parametrize("name", [".wh...", ".wh..", ".wh."])
@pytest.mark.parametrize("folder", ["models", "models/sub"])
def test_a_whiteout_deletes_nothing_above_its_folder(tmp_path: Path, name: str, folder: str) -> None:
    layers = Layers()
    layers.add([(f"{folder}/a", b"x"), (f"{folder}/{name}", b"")])
    (tmp_path / "precious").write_text("")
    with pytest.raises(InvalidContent, match="would delete the folder"):
        layers.unpack(tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["precious"]


@pytest.mark.parametrize("marker", [".wh.models", ".wh..wh..opq", "models/.wh..wh..opq"])
def test_a_whiteout_hides_lower_layers_wherever_it_stands(tmp_path: Path, marker: str) -> None:
    layers = Layers()
    layers.add([("models/old", b"x"), ("models/sub/old", b"x"), ("models/gone/old", b"x")])
    layers.add([("models/new", b"y"), ("models/sub/new", b"y"), (marker, b""), ("models/late", b"y")])
    layers.unpack(tmp_path / "out")
    assert files_of(tmp_path / "out") == {"new": b"y", "sub/new": b"y", "late": b"y"}
    assert not (tmp_path / "out" / "gone").exists()


def test_names_that_no_checkpoint_has_survive_a_pull_that_goes_on(tmp_path: Path) -> None:
    """Line ends and bytes that are no UTF-8, in layers that say that modelcar made them."""
    layers, names = Layers(), ["new\nline", "sep\u2028", os.fsdecode(b"latin-\xe9")]
    layers.add([(f"models/{name}", b"x" * 100) for name in names])
    layers.add([("models/last", b"x")])
    layers.descriptors = [d.annotated({"dev.modelcar.layer": "weights"}) for d in layers.descriptors]
    last = layers.blobs.pop(layers.descriptors[1].digest)

    @contextmanager
    def flaky(descriptor: Descriptor) -> Iterator[Readable]:
        if descriptor.digest not in layers.blobs:
            raise Unreachable("the line is cut")
        with layers.open(descriptor) as stream:
            yield stream

    with pytest.raises(Unreachable):
        unpack_model(layers.manifest, flaky, tmp_path / "out", workers=1)
    layers.blobs[layers.descriptors[1].digest] = last
    assert layers.unpack(tmp_path / "out").files == 4
    assert {p.name for p in (tmp_path / "out").iterdir()} == {*names, "last"}


def test_a_blob_that_claims_to_be_huge_is_not_read_into_memory() -> None:
    descriptor = Descriptor(media_type=media_types.LAYER_TAR, digest=Digest.of(b""), size=1 << 40)
    with Registry() as registry, pytest.raises(InvalidDocument, match="too many to be read at once"):
        RegistrySource(Reference.parse("registry.invalid/a/b:c"), registry).read(descriptor)


def test_an_index_that_is_a_link_to_itself() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo(INDEX_PATH)
        member.type, member.linkname = tarfile.SYMTYPE, "index.json"
        tar.addfile(member)
    with pytest.raises(InvalidContent, match=r"holds no \.modelcar/index\.json"):
        parse_index_layer(buffer.getvalue())


def test_damage_to_an_index_layer_raises_nothing_of_others() -> None:
    """Python's tarfile raises much besides its own errors."""
    with build_tar([Entry(path=INDEX_PATH, content=Literal(INDEX))]).content.open() as reader:
        gnu = reader.read()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo(INDEX_PATH)
        member.size = len(INDEX)
        member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "10"}
        tar.addfile(member, io.BytesIO(INDEX))
    chance = random.Random(1)
    refused = 0
    for _ in range(2000):
        blob = bytearray(chance.choice((gnu, buffer.getvalue())))
        for _ in range(chance.randrange(1, 6)):
            blob[chance.randrange(min(len(blob), 4096))] = chance.choice((0, 255, 48, 57, 45, 0x80))
        _mend_checksums(blob)
        try:
            parse_index_layer(bytes(blob))
        except ModelcarError:
            refused += 1
    assert refused > 500


def _mend_checksums(blob: bytearray) -> None:
    for offset in range(0, len(blob), 512):
        if blob[offset + 257 : offset + 262] == b"ustar":
            blob[offset + 148 : offset + 156] = b" " * 8
            blob[offset + 148 : offset + 156] = b"%06o\0 " % sum(blob[offset : offset + 512])
