"""From images to plans: what an index says, what tars hold, and what is refused."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import BinaryIO

import pytest

from modelcar.errors import InvalidContent, NotFound, UsageError
from modelcar.layers.index import ModelIndex
from modelcar.mounts.plan import MountedLink, MountPlan
from modelcar.mounts.plans import plan_image
from modelcar.oci import Descriptor, Digest, Manifest, media_types
from tests.support.lazy_images import LazyImage, lazy_image, tar_of

REFERENCE = "registry.example/org/model:v1"


@dataclass
class Memory:
    """`Reading` of blobs in memory."""

    blobs: Mapping[Digest, bytes]
    model: ModelIndex | None = None

    def index(self, layer: Descriptor) -> ModelIndex:
        assert self.model is not None
        assert layer.digest in self.blobs
        return self.model

    @contextmanager
    def layer(self, layer: Descriptor) -> Iterator[BinaryIO]:
        yield io.BytesIO(self.blobs[layer.digest])


def planned(image: LazyImage) -> MountPlan:
    return plan_image(REFERENCE, image.manifest, Memory(image.blobs, image.index))


def foreign(*layers: bytes, media_type: str = media_types.LAYER_TAR) -> tuple[MountPlan, dict[str, bytes]]:
    """The plan of an image without an index, and what its files hold by it."""
    blobs = {Digest.of(layer): layer for layer in layers}
    config = Descriptor.of(media_types.CONFIG, b"{}")
    manifest = Manifest(config=config, layers=tuple(Descriptor.of(media_type, layer) for layer in layers))
    plan = plan_image(REFERENCE, manifest, Memory(blobs))
    return plan, contents(plan, blobs)


def contents(plan: MountPlan, blobs: Mapping[Digest, bytes]) -> dict[str, bytes]:
    return {f.path: blobs[plan.blobs[f.blob].digest][f.offset : f.offset + f.size] for f in plan.files}


def member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def test_an_indexed_image_shows_its_files_and_reads_nothing_but_the_index() -> None:
    image = lazy_image()
    plan = planned(image)
    assert contents(plan, image.blobs) == image.files
    assert plan.digest == image.manifest.digest
    assert plan.index == image.manifest.layers[-1]
    assert [f.path for f in plan.files] == sorted(image.files)


def test_small_files_come_first_and_shards_in_their_order() -> None:
    image = lazy_image(shards=(100_000, 50_000, 70_000))
    first, second, third, small, _ = image.manifest.layers
    assert planned(image).blobs == (small, first, second, third)


def test_what_an_index_says_of_other_layers_is_void() -> None:
    image, other = lazy_image(), lazy_image(seed=2)
    stray = replace(other.index.layers[0], files=(replace(other.index.layers[0].files[0], path="stray"),))
    image = image.with_index(replace(image.index, layers=(*image.index.layers, stray)))
    assert contents(planned(image), image.blobs) == image.files


@pytest.mark.parametrize("leave_out", [0, 1, 2])
def test_an_index_that_leaves_a_layer_of_the_model_out_is_refused(leave_out: int) -> None:
    image = lazy_image()
    layers = tuple(layer for n, layer in enumerate(image.index.layers) if n != leave_out)
    with pytest.raises(InvalidContent, match="does not describe its layer"):
        planned(image.with_index(replace(image.index, layers=layers)))


def test_an_index_with_another_size_for_a_layer_is_refused() -> None:
    image = lazy_image()
    first = image.index.layers[0]
    shorter = replace(first, size=first.size - 512)
    with pytest.raises(InvalidContent, match="does not describe its layer"):
        planned(image.with_index(replace(image.index, layers=(shorter, *image.index.layers[1:]))))


def test_a_modelpack_artifact_is_no_image() -> None:
    with pytest.raises(UsageError, match="it is a ModelPack artifact and no image"):
        foreign(tar_of([("models/a", b"x")]), media_type="application/vnd.cncf.model.weight.v1.tar")


def test_compressed_layers_are_refused_with_what_to_do() -> None:
    with pytest.raises(UsageError, match="is compressed") as refusal:
        foreign(tar_of([("models/a", b"x")]), media_type=media_types.LAYER_TAR_GZIP)
    assert refusal.value.hint is not None
    image = lazy_image()
    first = replace(image.manifest.layers[0], media_type=media_types.LAYER_TAR_GZIP)
    squeezed = replace(
        image, manifest=Manifest(config=image.manifest.config, layers=(first, *image.manifest.layers[1:]))
    )
    with pytest.raises(UsageError, match="is compressed"):
        planned(squeezed)


def test_later_layers_replace_and_hide_what_earlier_ones_have() -> None:
    plan, files = foreign(
        tar_of(
            [("models/a", b"old"), ("models/b", b"gone"), ("models/d/x", b"1"), ("models/d/y", b"2"), ("etc/a", b"")]
        ),
        tar_of([("models/.wh.b", b""), ("models/d/.wh..wh..opq", b""), ("models/d/z", b"3"), ("./models/a", b"new")]),
    )
    assert files == {"a": b"new", "d/z": b"3"}
    assert len(plan.blobs) == 1, "nothing of the first layer is left"
    assert plan.index is None


def test_a_whiteout_does_not_hide_what_its_own_layer_brings() -> None:
    _, files = foreign(
        tar_of([("models/a", b"old"), ("models/b", b"old")]),
        tar_of([("models/a", b"new"), ("models/.wh.a", b""), ("models/c", b"new"), ("models/.wh..wh..opq", b"")]),
    )
    assert files == {"a": b"new", "c": b"new"}


def test_a_file_in_the_place_of_a_folder_and_the_other_way_round() -> None:
    _, files = foreign(
        tar_of([("models/a/x", b"1"), ("models/b", b"2")]), tar_of([("models/a", b"3"), ("models/b/y", b"4")])
    )
    assert files == {"a": b"3", "b/y": b"4"}


def test_links_are_shown_and_hard_links_are_files() -> None:
    plan, files = foreign(
        tar_of(
            [
                ("models/blobs/1", b"content"),
                member("models/snap/config.json", tarfile.SYMTYPE, "../blobs/1"),
                member("models/abs", tarfile.SYMTYPE, "/models/blobs/1"),
                member("models/hard", tarfile.LNKTYPE, "models/blobs/1"),
            ]
        ),
        tar_of([member("models/below", tarfile.LNKTYPE, "./models/blobs/1")]),
    )
    assert files == {"blobs/1": b"content", "hard": b"content", "below": b"content"}
    assert plan.links == (
        MountedLink(path="abs", target="blobs/1"),
        MountedLink(path="snap/config.json", target="../blobs/1"),
    )


@pytest.mark.parametrize("target", ["/etc/passwd", "../../x", "..", "/models", "a/../../../x"])
def test_links_that_lead_out_are_refused(target: str) -> None:
    with pytest.raises(InvalidContent, match="outside of the model"):
        foreign(tar_of([("models/a", b""), member("models/link", tarfile.SYMTYPE, target)]))


@pytest.mark.parametrize(
    ("layer", "complaint"),
    [
        (tar_of([member("models/fifo", tarfile.FIFOTYPE)]), "neither a plain file nor a link"),
        (tar_of([member("models/a", tarfile.LNKTYPE, "models/nothing")]), "which is no file"),
        (tar_of([("models/../../x", b"")]), "climbs out"),
        (b"no tar at all" * 1000, "not a readable tar"),
        (tar_of([("models/a", b"x" * 5000)])[:1024], "ends within"),
    ],
)
def test_layers_that_hold_what_a_model_must_not_are_refused(layer: bytes, complaint: str) -> None:
    with pytest.raises(InvalidContent, match=complaint):
        foreign(layer)


def test_an_image_without_a_model_is_none() -> None:
    with pytest.raises(NotFound, match="no files under /models"):
        foreign(tar_of([("etc/passwd", b"")]))


@pytest.mark.slow
def test_many_files_take_no_time_to_speak_of() -> None:
    _, files = foreign(tar_of((f"models/d{n % 50}/f{n}", b"") for n in range(20_000)))
    assert len(files) == 20_000
