"""The page of two models: its numbers, its structure, and that names in it are text."""

from __future__ import annotations

import re

import pytest

from modelcar.cli.pages.difference import difference_page
from modelcar.images.described import DescribedModel
from modelcar.images.differences import Amount, Change, Difference, Side, compare
from modelcar.layers.index import IndexedFile
from tests.unit.cli.pages.images import HOSTILE, Read, digest_of, layer, tensor

MOST = 2 << 20  # bytes


def file(path: str, content: str, *tensors: tuple[str, int, str]) -> IndexedFile:
    """With a digest of `content`; a tensor is its name, bytes and dtype."""
    found = tuple(tensor(name, size=size, dtype=dtype) for name, size, dtype in tensors)
    size = sum(t.size for t in found) or len(content)
    return IndexedFile(path=path, offset=0, size=size, role="weight", digest=digest_of(content), tensors=found)


def side(*files: IndexedFile, image: bool = True) -> Side:
    """An image with a layer a file."""
    layers = {f.path: layer(f.digest, f.size) for f in files} if image else {}
    return Side(model=DescribedModel(files=files, config={}, layers=layers))


A = (
    file("one.safetensors", "same", ("w.0", 800, "F32"), ("w.1", 80, "F32")),
    file("two.safetensors", "before", ("w.2", 400, "F32"), ("w.3", 400, "F32"), ("gone", 40, "F32")),
    file("old.json", "old"),
)
B = (
    file("one.safetensors", "same", ("w.0", 800, "F32"), ("w.1", 80, "F32")),
    file("two.safetensors", "after", ("w.2", 400, "F32"), ("w.3", 200, "BF16")),
    file("new.json", "newer"),
)


def test_amounts() -> None:
    found = compare(side(*A), side(*B))
    files = {
        Change.SAME: Amount(1, 1, 880, 880),
        Change.CHANGED: Amount(1, 1, 840, 600),
        Change.REMOVED: Amount(1, 0, 3, 0),
        Change.ADDED: Amount(0, 1, 0, 5),
    }
    assert found.file_amounts == files
    assert found.layer_amounts == files, "there is a layer a file"
    assert found.tensor_amounts == {
        Change.SAME: Amount(2, 2, 880, 880),
        Change.UNKNOWN: Amount(1, 1, 400, 400),
        Change.CHANGED: Amount(1, 1, 400, 200),
        Change.REMOVED: Amount(1, 0, 40, 0),
    }
    assert found.file_amounts[Change.CHANGED].count == 1


def test_a_folder_has_no_layers() -> None:
    assert compare(side(*A), side(*A, image=False)).layers == ()


def test_a_tensor_that_lies_elsewhere_is_not_said_to_be_the_same() -> None:
    moved = file("other.safetensors", "same", ("w.0", 800, "F32"), ("w.1", 80, "F32"))
    assert compare(side(A[0]), side(moved)).tensor_amounts == {Change.UNKNOWN: Amount(2, 2, 880, 880)}


def test_its_structure() -> None:
    read = Read(difference_page(compare(side(*A), side(*B)), "ghcr.io/acme/llm:v1", "./tuned/"))
    read.check_policy()
    assert read.headings == [
        "llm:v1",
        "",
        "→",
        "",
        "tuned",
        "Layers",
        "Layers that differ",
        "Files",
        "Files that differ",
        "Tensors",
        "Tensors that differ",
    ]
    assert read.columns == {
        "Layers: how much of them": ["Layers", "Count", "Before", "After"],
        "Layers that differ": ["Holds", "Change", "Before", "After", "sha256"],
        "Files: how much of them": ["Files", "Count", "Before", "After"],
        "Files that differ": ["File", "Change", "Before", "After"],
        "Tensors: how much of them": ["Tensors", "Count", "Before", "After"],
        "Tensors that differ": ["Tensor", "Change", "Before", "After"],
    }
    text = re.sub(r"\s+", " ", read.text)
    assert "605 B to move" in text
    assert "880 B are the same" in text


def test_bars_have_one_scale() -> None:
    page = difference_page(compare(side(*A), side(*B)), "a", "b").decode()
    widths = {name: float(width) for name, width in re.findall(r"\.(p\d+)\{width:([\d.]+)%\}", page)}
    bars = re.findall(r'<div class="bar".*?</div>', page, re.DOTALL)
    parts = [[(tone, widths[place]) for tone, place in re.findall(r'class="(\w+) (p\d+)"', bar)] for bar in bars]
    assert len(parts) == 6
    layers_before, layers_after = parts[0], parts[1]
    assert layers_before[0] == layers_after[0] == ("same", pytest.approx(100 * 880 / 1723, abs=1e-3))
    assert [tone for tone, _ in layers_before] == ["same", "changed", "removed"]
    assert [tone for tone, _ in layers_after] == ["same", "changed", "added"]
    assert sum(width for _, width in layers_before) == pytest.approx(100, abs=1e-2)


def test_one_model_twice() -> None:
    read = Read(difference_page(compare(side(*A), side(*A)), "a", "b"))
    assert "They are the same model." in read.text
    assert not [heading for heading in read.headings if "differ" in heading]


def test_nothing_at_all() -> None:
    Read(difference_page(Difference(files=(), tensors=()), "", "")).check_policy()


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_whatever_is_written_in_an_image_is_text(text: str) -> None:
    found = compare(side(file(text, "1", (text, 8, text))), side(file(text, "22", (text, 16, text))))
    page = difference_page(found, text, text)
    read = Read(page)
    read.check_policy()
    assert read.tags.count("script") == 2
    assert "img" not in read.tags
    assert len(page) < 100_000


def test_a_page_has_its_bounds() -> None:
    noise = "<&\U0001f600" * 60
    many = [file(f"{i}{noise}", "1", *((f"{i}.{j}{noise}", 8, "F32") for j in range(20))) for i in range(1000)]
    found = compare(side(), side(*many))
    page = difference_page(found, noise, noise)
    assert len(page) < MOST
    text = re.sub(r"\s+", " ", Read(page).text)
    assert "850 more, which are left out here" in text
    assert "40 of 20,000" in text
