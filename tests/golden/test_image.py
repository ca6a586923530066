"""A whole image against an independent writer: every layer, every document, to the byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelcar.checkpoint import open_checkpoint
from modelcar.holder import holder_bytes
from modelcar.oci import Digest
from modelcar.packaging.base import DEFAULT_PLATFORMS, holder_base, scratch_base
from modelcar.packaging.build import build_image
from modelcar.store import LocalStore
from modelcar.store.tree import walk
from tests.golden.independent_image import File, Image
from tests.support.checkpoints import make_checkpoint
from tests.support.weights import safetensors_bytes

# The digest of the checkpoint of `make_checkpoint()` on no base. If it changes, every image in the world does with the
# next rebuild.
GOLDEN = "sha256:866017e7e3fde7e03ce344a5717983d03fd1c928a002a87903c4d71b372f4b9b"
ROLES = {
    "1_Pooling/config.json": "config",
    "README.md": "card",
    "config.json": "config",
    "model.safetensors.index.json": "config",
    "tokenizer.json": "tokenizer",
}


def independent(folder: Path, **options: object) -> Image:
    """What `make_checkpoint()` made, as the documents say that it is packaged."""
    shards = [File(path=p.name, content=p.read_bytes(), role="weight") for p in sorted(folder.glob("*.safetensors"))]
    return Image(
        shards=shards,
        small=[File(path=path, content=(folder / path).read_bytes(), role=role) for path, role in ROLES.items()],
        annotations={
            "org.opencontainers.image.title": "Tiny",
            "org.opencontainers.image.licenses": "Apache-2.0",
            "dev.modelcar.model.architecture": "TinyForCausalLM",
            "dev.modelcar.model.parameters": "150000",
            "dev.modelcar.model.precision": "bfloat16",
            "dev.modelcar.model.format": "safetensors",
        },
        descriptor={"family": "tiny", "licenses": ["Apache-2.0"], "title": "Tiny"},
        config={
            "architecture": "TinyForCausalLM",
            "format": "safetensors",
            "paramSize": "150K",
            "precision": "bfloat16",
            "capabilities": {"inputTypes": ["text"], "outputTypes": ["text"]},
        },
        **options,  # type: ignore[arg-type]  # settings by their names
    )


def check(folder: Path, store: LocalStore, image: Image, *, holder: bool) -> None:
    """Build `folder` and compare everything that there is."""
    bases = [holder_base(p) if holder else scratch_base(p) for p in DEFAULT_PLATFORMS]
    root = image.write()
    built = build_image(open_checkpoint(folder), store, bases)
    for digest, blob in image.blobs.items():
        with store.content.open(Digest.parse(digest)) as reader:
            assert reader.read() == blob
    assert {str(d.digest) for d in walk(store.content, built.index)} == set(image.blobs)
    assert str(built.index.digest) == root


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "home")


def test_on_nothing(tmp_path: Path, store: LocalStore) -> None:
    folder = make_checkpoint(tmp_path / "model")
    image = independent(folder)
    assert image.write() == GOLDEN
    check(folder, store, image, holder=False)


def test_on_the_holder(tmp_path: Path, store: LocalStore) -> None:
    folder = make_checkpoint(tmp_path / "model")
    check(folder, store, independent(folder, holders={a: holder_bytes(a) for a in ("amd64", "arm64")}), holder=True)


def test_names_that_json_escapes_and_several_chunks(tmp_path: Path, store: LocalStore) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    tensors = {
        "<w>&\N{LATIN SMALL LETTER E WITH ACUTE}": ("F32", (1_500_000,), bytes(6_000_000)),
        "empty": ("BF16", (0, 9), b""),
        "scalar": ("I64", (), b"12345678"),
    }
    weights = safetensors_bytes(tensors, {"format": "pt"})
    (folder / "a&b.safetensors").write_bytes(weights)
    (folder / "LICENSE").write_bytes(b"do <what> you want")
    image = Image(
        shards=[File(path="a&b.safetensors", content=weights, role="weight")],
        small=[File(path="LICENSE", content=b"do <what> you want", role="license")],
        annotations={
            "dev.modelcar.model.parameters": "1500000",
            "dev.modelcar.model.precision": "float32",
            "dev.modelcar.model.format": "safetensors",
        },
        descriptor={},
        config={"format": "safetensors", "paramSize": "1.5M", "precision": "float32"},
    )
    check(folder, store, image, holder=False)
