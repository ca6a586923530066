"""What is read of an image before anything is said about it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from modelcar.errors import DigestMismatch, InvalidContent, UsageError
from modelcar.oci import Descriptor, Index, Manifest
from modelcar.packaging.fetch import ImageSource, StoreSource
from modelcar.packaging.unpack import Readable
from modelcar.signing.attestations.image import AttestedImage, _check_content, read_image
from modelcar.store import LocalStore
from tests.support.images import put_image, random_image
from tests.unit.signing.attestations.conftest import Attest


def test_card_configuration_and_platforms(image: AttestedImage) -> None:
    assert image.card.title == "Tiny"
    assert image.config["model_type"] == "tiny"
    assert image.platforms == ("linux/amd64", "linux/arm64")
    assert (image.has_holder, image.base, image.name) == (True, (), "Tiny")


def test_an_image_without_a_model_index_is_no_model(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "home")
    with store.session(), pytest.raises(UsageError, match="no model index") as caught:
        read_image(StoreSource(store.content, put_image(store.content, random_image(1))))
    assert "--predicate" in (caught.value.hint or "")


def test_a_configuration_that_is_none_is_left_aside(attest: Attest, folder: Path) -> None:
    (folder / "README.md").unlink()
    image = attest()
    assert not image.card.front
    assert image.config["model_type"] == "tiny"


class _Lying:
    """An image whose layers are not what the index says."""

    def __init__(self, inner: ImageSource, change: str) -> None:
        self._inner = inner
        self._change = change
        self.resolve, self.read = inner.resolve, inner.read

    def document(self, descriptor: Descriptor) -> Manifest | Index:
        return self._inner.document(descriptor)

    @contextmanager
    def open_layer(self, descriptor: Descriptor) -> Iterator[Readable]:
        with self._inner.open_layer(descriptor) as stream:
            content = stream.read()
        if self._change == "short":
            yield io.BytesIO(content[:1024])
        else:
            changed = bytes([content[0] ^ 1]) + content[1:]
            yield descriptor.digest.verifying(io.BytesIO(changed), descriptor.size)


def test_an_index_that_is_seen_to_lie_is_not_repeated(image: AttestedImage) -> None:
    for layer in image.model.layers:
        for file in layer.files:
            if file.path == "config.json":
                content = b'{"architectures": ["TinyForCausalLM"], "model_type": "tiny"}'
                _check_content(file, layer, content)
                with pytest.raises(InvalidContent, match="another digest"):
                    _check_content(file, layer, content.replace(b"tiny", b"tinY"))
                return
    pytest.fail("there is no config.json")


@pytest.mark.parametrize(("change", "error"), [("short", InvalidContent), ("bit", DigestMismatch)])
def test_what_an_index_says_of_a_layer_may_be_a_lie(
    attest: Attest, tmp_path: Path, change: str, error: type[Exception]
) -> None:
    root = attest().root
    store = LocalStore(tmp_path / "home")
    source = StoreSource(store.content, root)
    assert read_image(source).card.title == "Tiny"
    with pytest.raises(error):
        read_image(_Lying(source, change))
