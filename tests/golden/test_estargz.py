"""Golden digests of eStargz layers and zTOCs. A change here gives every such image in the world another digest."""

from __future__ import annotations

import pytest

from modelcar.layers.bytemap import Literal
from modelcar.layers.estargz import TOC_DIGEST, plan_estargz
from modelcar.layers.estargzhash import hash_estargz
from modelcar.layers.hashing import hash_layer
from modelcar.layers.soci.ztoc import ztoc
from modelcar.layers.tar import Entry, build_tar
from modelcar.oci import Digest

# Name of the tree: (what is in it, size of the blob, digests of blob, tar and table; of the zTOC of its plain layer).
TREES: dict[str, tuple[dict[str, bytes], int, str, str, str, str]] = {
    "empty": (
        {},
        3215,
        "e702c1f6390691e999e02a198c9554a79b2a32b8775d3a4a77e4ab6ce33f5925",
        "d60946e3012b7ee040b5ddb34a8397deb1e4a2198912621967666b1bb629f141",
        "5c84ca1cf511c0f5885f30f5594de3e3941e8eee2abb39850465a52704815f88",
        "a44adfa8fc0c0c2db346b293feaeb6ed1047b677d621034d6ca7ce3d7206a54d",
    ),
    "small": (
        {"models/config.json": b"{}", "models/1/config.json": b'{"a":1}', "models/empty": b""},
        7403,
        "20829de83fdaf2361d1b63e40b094bc970c7f4b77d93c63737d3e66da52a986b",
        "34deba526ccc95c85b8020e7a32cbb40a7c1ccfb7d484aa2d1479cc5167f48ea",
        "92111d5017ec68fd109a36209339b2ca4617a82fd891a8025fda6c592d24e1a8",
        "b1730df4eaff08eb934e80b91657b6e9659e63814025c68f04fbbf119385a17b",
    ),
    "block": (
        {"models/a": bytes(65_535), "models/b": bytes(65_536)},
        137945,
        "0b4cb7a0c6e0f8a2b2b07b9e0369c051d2ab417a45dc5b09e7a48e00c633ca78",
        "6ab254d16fda044dbc03095674cc349c527a31c9770beb8e2110995ea577e4d1",
        "c175b647fab7165578818298020ddecfc41b434615644d3af82ad9ded766034c",
        "897086aec4fd15674694966bcae66a2d21d8d8bdc3cba7185501f1699a7e9c2a",
    ),
    "chunks": (
        {"models/model.safetensors": b"w" * ((8 << 20) + 1), "models/z": b"z"},
        8398233,
        "9ddc5f3882b06d8df1b40692c05b1dd38b0c46021754bea220d9077caa3f4b8a",
        "257aa1b48d0ff72e21e7e8602281696a3f11f85bed9564164b50a746b0605b13",
        "cf9fe64cc440654d28704e1fc25d91f84d3536e7109bc25a9478a58beba11e15",
        "778aac1fc7ee044c2fd80de9dc93808304dc3520b4ac937ecea707f3e4369d8d",
    ),
    "names": (
        {f"models/{'d' * 200}/{'n' * 200}": bytes(70_000), "models/模型/é": b"<&>"},
        83696,
        "7c50b50213381eb101c692b82af749a86bb2fd1e312c325207750db2e102494d",
        "e491d8b776c53d8a7ce2ab7f7df18d3b4cbdf3ed14bfa85baef187f1d73a8a18",
        "9d3bd75be8f1b6a3363b8edff4f8d17429aa5fe9d47c532cf2d7447927b0208e",
        "a7f5febef40afccee4b7a0e93c1a8ce61fd74a34d9732c77c7bee275bfcbab53",
    ),
}


def entries_of(name: str) -> list[Entry]:
    return [Entry(path=path, content=Literal(content)) for path, content in TREES[name][0].items()]


@pytest.mark.parametrize("name", TREES)
def test_layer(name: str) -> None:
    plan = plan_estargz(entries_of(name))
    found = hash_estargz(plan)
    table = Digest.parse(plan.annotations(plan.toc_digest(found))[TOC_DIGEST])
    assert (plan.size, found.blob.hex, found.digest.hex, table.hex) == TREES[name][1:5]


@pytest.mark.parametrize("name", TREES)
def test_ztoc(name: str) -> None:
    layer = build_tar(entries_of(name))
    assert Digest.of(ztoc(layer, hash_layer(layer, spans=True).spans)).hex == TREES[name][5]
