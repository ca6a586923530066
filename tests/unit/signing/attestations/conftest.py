"""A small model as an image in a store, and what it says about itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from modelcar.checkpoint import open_checkpoint
from modelcar.packaging.base import DEFAULT_PLATFORMS, holder_base
from modelcar.packaging.build import build_image
from modelcar.packaging.fetch import StoreSource
from modelcar.packaging.plan import Packing
from modelcar.signing.attestations.image import AttestedImage, read_image
from modelcar.store import LocalStore
from tests.support.checkpoints import age, make_checkpoint
from tests.support.weights import safetensors_bytes

CARD = """---
license: apache-2.0
pipeline_tag: text-generation
library_name: transformers
language: [en, de]
datasets:
  - acme/corpus
  - an internal one
base_model: acme/parent
---
# Tiny
It does little.
"""

Attest = Callable[..., AttestedImage]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return _folder(tmp_path)


@pytest.fixture
def attest(tmp_path: Path, folder: Path) -> Attest:
    """Build `folder` and read the image back; options are `build_image`'s."""
    return partial(attested, tmp_path / "home", folder)


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> AttestedImage:
    """Of a folder like `folder`, hence the same image."""
    place = tmp_path_factory.mktemp("attested")
    return attested(place / "home", _folder(place))


def _folder(place: Path) -> Path:
    folder = make_checkpoint(place / "checkpoint")
    (folder / "README.md").write_text(CARD)
    (folder / "empty.txt").write_bytes(b"")
    (folder / ".gitattributes").write_text("* -text\n")
    return folder


def attested(home: Path, folder: Path, **options: bool | Packing) -> AttestedImage:
    """Build `folder` into the store at `home` and read the image back."""
    age(folder)
    store = LocalStore(home)
    bases = [holder_base(p) for p in DEFAULT_PLATFORMS]
    with store.session():
        built = build_image(open_checkpoint(str(folder)), store, bases, **options)  # type: ignore[arg-type]  # settings by their names
        return read_image(StoreSource(store.content, built.index), "registry.example/acme/tiny")


def from_hub(image: AttestedImage, **annotations: str) -> AttestedImage:
    """`image` as if it came from this repository on the Hub."""
    source = {"dev.modelcar.source.repo": "acme/tiny", "dev.modelcar.source.revision": "c0ffee" * 6 + "c0ff"}
    return replace(image, annotations={**image.annotations, **source, **annotations})


def first_shard(size: int) -> bytes:
    """A valid file of about `size` bytes of one tensor named like the checkpoint's first."""
    elements = size // 2
    return safetensors_bytes({"model.layers.1.weight": ("BF16", (elements,), os.urandom(2 * elements))})
