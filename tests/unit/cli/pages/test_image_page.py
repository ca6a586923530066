"""What the page of an image has, and that nothing in an image gets out of its place or makes the page large."""

from __future__ import annotations

import json
import re

import pytest

from modelcar.cli.layers import layers_of, shared_layers
from modelcar.cli.pages.claimed import ClaimedVerdict
from modelcar.cli.pages.image import image_page
from modelcar.signing.claims import Claim
from modelcar.signing.ruleset import SCAN_VERDICT
from modelcar.signing.statement import COSIGN_SIGN
from tests.unit.cli.pages.images import HOSTILE, Read, digest_of, image, indexed, layer, tensor
from tests.unit.cli.pages.views import hostile_view, model_view, view

MOST = 2 << 20  # bytes
SIGNATURE = Claim(kind="signature", predicate_type=COSIGN_SIGN, format="bundle", signer=None)
VERDICT = Claim(kind="attestation", predicate_type=SCAN_VERDICT, format="bundle", signer=None)


def test_its_structure() -> None:
    read = Read(image_page(model_view()))
    read.check_policy()
    assert read.headings == [
        "Tiny",
        "Layers",
        "Shared bytes",
        "Tensors",
        "What takes the room",
        "Largest first",
        "Signatures and verdicts",
        "Details",
    ]
    assert read.columns == {
        "Layers, bottom to top": ["Layer", "Size", "Share", "sha256", "Type", "In", "Shared"],
        "Shared bytes": ["Bytes", "Size", "Share"],
        "Bytes by dtype": ["Dtype", "Tensors", "Size", "Share"],
        "Tensors whose names differ in a number only": ["Tensors", "Count", "Size", "Share"],
        "Tensors, largest first": ["Tensor", "Dtype", "Shape", "Size", "File"],
        "Signatures and attestations, not verified": ["What", "Kind", "Format", "Says it is by"],
        "Files": ["File", "Role", "Format", "Size", "Tensors"],
        "Manifests": ["Manifest", "Platform", "Size", "Digest"],
        "Annotations": [],
        "Configuration of the model": [],
        "Configuration of the image": [],
    }


@pytest.mark.parametrize(
    ("claims", "verdicts", "said"),
    [
        ([], [], "Trust neither signed nor scanned"),
        ([SIGNATURE], [], "Trust signature; nothing of it verified here"),
        ([VERDICT], ["clean"], "Trust a scan verdict claims clean · not signed, scan verdict; nothing of it"),
        (
            [VERDICT, SIGNATURE],
            ["clean", "malicious", "unverified"],
            "Trust a scan verdict claims malicious · signature",
        ),
    ],
)
def test_the_first_screen_says_who_vouches_for_it(claims: list[Claim], verdicts: list[str], said: str) -> None:
    found = [ClaimedVerdict(verdict=verdict, rules="", scanned_at="", findings=0) for verdict in verdicts]
    text = re.sub(r"\s+", " ", Read(image_page(view(attached=claims, verdicts=found))).text)
    assert said in text.partition("Every layer once")[0]


def test_of_many_shards_tiles_and_rows_tell_which() -> None:
    weights = [layer(f"shard {number}", 1000 + number) for number in range(10)]
    index = [
        indexed(part, *((f"model-{number}{i}.safetensors", [tensor(f"{number}.{i}", size=8)]) for i in range(3)))
        for number, part in enumerate(weights)
    ]
    page = image_page(view(inspected=image(*weights, index=index))).decode()
    assert '<bdi dir="ltr">model-70.safetensors and 2 more</bdi>' in page
    assert '<span class="name">…70.safetensors and 2 more</span>' in page


def test_its_facts() -> None:
    text = re.sub(r"\s+", " ", Read(image_page(model_view())).text)
    for fact in (
        "22.7M",
        "Apache-2.0",
        "10.0 MB",  # in all
        "hidden size 384",
        "a.safetensors",
        "layers.*.up",
        "6.0 MB (60.0 %) are in",
        "Nothing here was verified",
        "clean is what a scan verdict claims",
        "a scan verdict claims clean · signature; nothing of it verified here",
    ):
        assert fact in text


def test_without_anything() -> None:
    read = Read(image_page(view()))
    read.check_policy()
    assert read.headings == ["llm:v1", "Layers", "Tensors", "Signatures and verdicts", "Details"]
    assert "Nothing is attached" in read.text
    assert "Nothing says which tensors" in read.text


def test_a_tile_a_layer_as_large_as_its_bytes() -> None:
    page = image_page(model_view()).decode()
    places = dict(re.findall(r"\.(p\d+)\{left:[\d.]+%;top:[\d.]+%;(width:[\d.]+%;height:[\d.]+%)\}", page))
    tiles = re.findall(r'<li class="(p\d+)"><a class="tile (\w+)( shared)?"', page)
    assert [(tone, bool(shared)) for _, tone, shared in tiles] == [
        ("weights", True),
        ("weights", False),
        ("files", False),
        ("holder", False),
    ]
    areas = []
    for place, _, _ in tiles:
        width, height = map(float, re.findall(r"[\d.]+", places[place]))
        areas.append(width * height / 1e4)
    assert areas == pytest.approx([0.6, 0.3, 0.09, 0.01], rel=1e-3)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_whatever_is_written_in_an_image_is_text(text: str) -> None:
    page = image_page(hostile_view(text))
    read = Read(page)
    read.check_policy()
    assert set(read.tags) == set(Read(image_page(model_view())).tags)
    assert read.tags.count("script") == 2
    assert read.tags.count("img") == 0
    assert len(page) < 200_000
    shown = read.text + "".join(value for _, value in read.attributes)
    assert all(c.isprintable() or c == "\n" for c in shown)
    data = re.findall(r'id="data">(.*?)</script>', page.decode(), re.DOTALL)
    assert json.loads(data[0])["what"] == "tensors"
    assert not set("<>&") & set(data[0])


@pytest.mark.slow
def test_a_page_has_its_bounds() -> None:
    many = [layer(i, i + 1, "weights") for i in range(3000)]
    noise = "<&\U0001f600" * 60
    tensors = [tensor(f"{i}{noise}", size=8 * (i + 1)) for i in range(30_000)]
    index = [indexed(x, (f'{i}{noise}"', tensors if i == 0 else [])) for i, x in enumerate(many)]
    claim = Claim(kind="attestation", predicate_type="<" * 300, format="legacy", signer="&" * 300)
    inspected = image(*many, index=index, annotations={f"{i}{'<' * 300}": "<" * 300 for i in range(5000)})
    page = image_page(
        view(
            inspected=inspected,
            config={f"{i}{'<' * 300}": ["<"] * 300 for i in range(5000)},
            attached=[claim] * 5000,
            shared=shared_layers(layers_of(inspected), "v0", inspected),
        )
    )
    assert len(page) < MOST
    text = Read(page).text
    assert "2881 smaller layers" in text
    assert "2,850 more, which are left out here" in text
    assert "4,850 more, which are left out here" in text
    assert "of 30,000" in text


def test_a_layer_is_coloured_by_its_kind_and_never_by_its_words() -> None:
    page = image_page(view(inspected=image(layer("a", 1, "shared tile evil"), layer("b", 1, None)))).decode()
    assert re.findall(r'<a class="tile ([^"]*)"', page) == ["other", "other"]


def test_the_digest_is_there_in_full() -> None:
    assert str(digest_of("one")) in Read(image_page(model_view())).page.decode()
