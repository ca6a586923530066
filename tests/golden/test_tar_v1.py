"""Golden digests of tar policy v1. A change here is a new policy: every image in the world would get new digests."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from modelcar.files import FileStamp
from modelcar.layers.bytemap import FileRange, Literal
from modelcar.layers.hashing import hash_layer
from modelcar.layers.tar import POLICY, Entry, VirtualTar, build_tar

GIB = 1 << 30
# Name of the tree: (what is in it, size of the layer, its digest).
TREES: dict[str, tuple[dict[str, bytes], int, str]] = {
    "empty": ({}, 1024, "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"),
    "small": (
        {"models/config.json": b"{}", "models/1_Pooling/config.json": b'{"a":1}'},
        4096,
        "05fc3f8aa931a3d9d540ffb6d06e4f139271c9917179ac72d45c0284aab150ad",
    ),
    "empty-file": (
        {"models/empty": b"", "models/one": b"1"},
        3072,
        "26e27afc4244bf8fd0a3ed17d0d9b466090c369454369b0ab4d093ee06fcb1d9",
    ),
    "aligned": (
        {"models/model.safetensors": bytes(65536), "models/small": bytes(65535)},
        136704,
        "803bdfef25330df536a14099fbe1b81fce5eee4bca06b94b997d6aa36fc41232",
    ),
    "two-shards": (
        {f"models/model-{i}-of-2.safetensors": b"w" * 100_001 for i in (1, 2)},
        207872,
        "74c09c89977521f7b642e6af6742c1550a838dc5746e8e5531eb3dd859441f2f",
    ),
    "long-names": (
        {f"models/{'n' * length}": b"x" for length in (92, 93, 94, 255)},
        7680,
        "016289da44e0cc2fd0e366ef050477e2841ac5c4abcc67769d245aaa5c21a557",
    ),
    "long-aligned": (
        {f"models/{'d' * 200}/{'n' * 200}": bytes(70_000)},
        79360,
        "678a31655ea77a58a5e03ff78a3f85907d862d2af3f9abf0e8701ec378e710bd",
    ),
    "non-ascii": (
        {"models/模型/é.json": b"x", "models/é": b"y", "models/e\u0301": b"z"},
        5120,
        "6d8eaa16b2c2df8f60f28276220fc94f2ca2139eb0136c5deef30d72e80da8dc",
    ),
    "order": (
        dict.fromkeys(("a/b", "a.b", "a-b", "a0", "A", "a/B", "a_/b", "~"), b"x"),
        10240,
        "f90f2c5240f4ef27a9fd64b54922d47c87e9f113ce50c71282ea579b193c5af4",
    ),
}


def layer_of(tree: dict[str, bytes]) -> VirtualTar:
    return build_tar([Entry(path=path, content=Literal(content)) for path, content in tree.items()])


@pytest.mark.parametrize("name", TREES)
def test_layer(name: str) -> None:
    tree, size, digest = TREES[name]
    layer = layer_of(tree)
    found = hash_layer(layer)
    assert (layer.content.size, found.digest.hex) == (size, digest)


def test_programs_are_executable() -> None:
    layer = build_tar([Entry(path="modelcar-holder", content=Literal(b"\x7fELF"), executable=True)])
    assert hash_layer(layer).digest.hex == "f7d2d59f3c917af2d5cf767227b6182319aa1fc542734ccbe0d6deac45cea6f3"


@pytest.mark.parametrize(
    ("size", "header", "end"),
    [
        (8 * GIB - 1, "df2398a832f1d190991cef9c900bb2be7d738ae47bf7f91ee71138cb1de3828b", 8589939712),
        (8 * GIB, "fb11c0c98267843f1508d7cf477c226f3c2836b29918d7525927fd4de8d5e4e3", 8589939712),
        (9 * GIB, "8a19199cf3badf5d1d61b7d49861cae1cce067bb62fe0b5678605d0df31790d3", 9663681536),
    ],
)
def test_headers_around_8_gib(tmp_path: Path, size: int, header: str, end: int) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as f:
        f.truncate(size)
    stamp = FileStamp.from_stat(path.stat())
    layer = build_tar([Entry(path="models/model.gguf", content=FileRange(path=path, offset=0, size=size, stamp=stamp))])
    payload = layer.payloads[0]
    with layer.content.open(0, payload.offset) as reader:
        head = reader.read()
    assert hashlib.sha256(head).hexdigest() == header
    assert head[-512 + 124 : -512 + 136] == (
        b"%011o\0" % size if size < 8 * GIB else b"\x80" + size.to_bytes(11, "big")
    )
    assert payload.offset == 4096
    assert layer.content.size == end
    with layer.content.open(payload.offset + size) as reader:
        assert reader.read().strip(b"\0") == b""


def test_policy_has_a_name() -> None:
    assert POLICY == "v1"
