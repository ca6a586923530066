"""What is fetched before an image can be mounted, and that it ends when nobody wants it any more."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pytest

from modelcar.errors import NotFound
from modelcar.layers.index import ModelIndex
from modelcar.mounts.plans import plan_image
from modelcar.mounts.preparing import Preparing, needed_first
from modelcar.mounts.records import MountRecord
from modelcar.oci import Descriptor, Manifest
from tests.support.lazy_images import LazyImage, lazy_image
from tests.unit.mounts.conftest import ORIGIN

RECORD = MountRecord(id="m", target=Path("/mnt/llm"), origin=ORIGIN)


class Reading:
    """Of an image in memory; `here` has what was read."""

    def __init__(self, image: LazyImage) -> None:
        self.image = image
        self.here: list[Descriptor] = []

    def present(self, layer: Descriptor) -> int:
        return layer.size if layer in self.here else 0

    def index(self, layer: Descriptor) -> ModelIndex:
        self.here.append(layer)
        return self.image.index

    @contextmanager
    def layer(self, layer: Descriptor) -> Iterator[BinaryIO]:
        self.here.append(layer)
        yield io.BytesIO(self.image.blobs[layer.digest])


@pytest.fixture
def manifest() -> Manifest:
    """Of an image without an index."""
    image = lazy_image()
    return replace(image.manifest, layers=image.manifest.layers[:-1])


def test_all_layers_or_the_index_are_needed_first(manifest: Manifest) -> None:
    whole = lazy_image().manifest
    assert needed_first(whole) == whole.layers[-1:]
    twice = replace(manifest, layers=(*manifest.layers, manifest.layers[0]))
    assert needed_first(twice) == manifest.layers


def test_how_far_it_is(manifest: Manifest) -> None:
    reading = Reading(lazy_image())
    preparing = Preparing(reading.present)
    assert preparing.to_dict() == {"mounts": []}
    with preparing.image(RECORD, "example/llm:v1", manifest, reading) as stoppable:
        [mount] = preparing.to_dict()["mounts"]
        assert (mount["id"], mount["target"], mount["reference"]) == ("m", "/mnt/llm", "example/llm:v1")
        assert [layer["present"] for layer in mount["layers"]] == [0] * len(manifest.layers)
        plan = plan_image("example/llm:v1", manifest, stoppable)
        [mount] = preparing.to_dict()["mounts"]
        assert [layer["present"] for layer in mount["layers"]] == [layer.size for layer in manifest.layers]
    assert plan.index is None
    assert preparing.to_dict() == {"mounts": []}


def test_what_nobody_wants_any_more_is_not_fetched_to_its_end(manifest: Manifest) -> None:
    reading = Reading(lazy_image())
    preparing = Preparing(reading.present)
    with preparing.image(RECORD, "example/llm:v1", manifest, reading) as stoppable:
        with stoppable.layer(manifest.layers[0]):
            preparing.stop("m")
        with pytest.raises(NotFound, match="the mount m is over"):
            plan_image("example/llm:v1", manifest, stoppable)
    assert reading.here == [manifest.layers[0]]
    with preparing.image(RECORD, "example/llm:v1", lazy_image().manifest, reading) as stoppable:
        preparing.stop("m")
        with pytest.raises(NotFound):
            stoppable.index(manifest.layers[0])
