"""A plan of an image becomes one of its layers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelcar.errors import InvalidDocument, NotFound
from modelcar.mounts.plan import MountedFile, MountedLink, MountPlan
from modelcar.oci import Descriptor, Digest, media_types
from modelcar.packaging.annotations import SNAPSHOT_LAYER
from registry_shim.mounts.layered import by_layer, folder_name

INDEX = Descriptor(media_type=media_types.LAYER_TAR, digest=Digest.of(b"index"), size=9)


def layer(name: str, *, lazy: bool = True) -> Descriptor:
    annotations = {SNAPSHOT_LAYER: "weights"} if lazy else {}
    return Descriptor(
        media_type=media_types.LAYER_TAR, digest=Digest.of(name.encode()), size=100, annotations=annotations
    )


SMALL, A, B = layer("small", lazy=False), layer("a"), layer("b")
PLAN = MountPlan(
    reference="registry.example/acme/model:v1",
    digest=Digest.of(b"manifest"),
    blobs=(SMALL, B, A),
    files=(
        MountedFile(path="config.json", blob=0, offset=1, size=2),
        MountedFile(path="deep/b.safetensors", blob=1, offset=3, size=4),
        MountedFile(path="one", blob=2, offset=5, size=6),
        MountedFile(path="two", blob=2, offset=11, size=7),
    ),
    links=(MountedLink(path="link", target="one"),),
    index=INDEX,
)


def test_each_lazy_layer_has_a_folder_with_its_own_files() -> None:
    found = by_layer(PLAN)
    found.check()
    shown = {file.path: (found.blobs[file.blob], file.offset, file.size) for file in found.files}
    a, b = folder_name(A.digest), folder_name(B.digest)
    assert shown == {
        f"{b}/models/deep/b.safetensors": (B, 3, 4),
        f"{a}/models/one": (A, 5, 6),
        f"{a}/models/two": (A, 11, 7),
    }
    assert [file.path for file in found.files] == sorted(shown)
    assert (found.links, found.index, found.reference, found.digest) == ((), INDEX, PLAN.reference, PLAN.digest)


def test_an_image_without_lazy_layers_has_nothing_to_mount() -> None:
    with pytest.raises(NotFound, match="no layer that is meant to be mounted"):
        by_layer(replace(PLAN, blobs=(SMALL, SMALL, SMALL)))


def test_two_layers_never_share_a_folder() -> None:
    twin = replace(A, digest=Digest("sha256", A.digest.hex[:12] + "0" * 52))
    assert folder_name(twin.digest) == folder_name(A.digest)
    with pytest.raises(InvalidDocument, match="begin alike"):
        by_layer(replace(PLAN, blobs=(SMALL, twin, A)))


def test_sixty_of_them_fit_into_the_options_of_a_mount() -> None:
    root = "/var/lib/modelcar-snapshotter/images/1234/"
    names = [f"{root}{folder_name(Digest.of(str(n).encode()))}" for n in range(60)]
    assert len(":".join(names)) < 4096
