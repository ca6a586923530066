"""Plans of mounts: what may be mounted at all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from modelcar.errors import InvalidDocument
from modelcar.mounts.plan import MountedFile, MountedLink, MountPlan
from modelcar.oci import Descriptor, Digest, media_types

BLOB = Descriptor(media_type=media_types.LAYER_TAR, digest=Digest.of(b"layer"), size=10_000)
PLAN = MountPlan(
    reference="models.example/org/model:v1",
    digest=Digest.of(b"manifest"),
    blobs=(BLOB,),
    files=(
        MountedFile(path="a/config.json", blob=0, offset=512, size=20),
        MountedFile(path="model.safetensors", blob=0, offset=4096, size=5904),
    ),
    links=(MountedLink(path="a/link", target="config.json"),),
    index=replace(BLOB, size=77),
)


def test_a_plan_survives_its_file() -> None:
    assert MountPlan.parse(PLAN.to_json()) == PLAN
    assert MountPlan.parse(replace(PLAN, index=None).to_json()).index is None
    assert PLAN.size == 5924


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../a", "a//b", "a/./b", "a/..", "a\0b", "a/"])
def test_paths_go_nowhere_else(path: str) -> None:
    with pytest.raises(InvalidDocument, match="not a relative path"):
        replace(PLAN, files=(replace(PLAN.files[0], path=path),)).check()


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ([{"path": "x", "blob": 1}], "not listed"),
        ([{"path": "x", "blob": -1}], "not listed"),
        ([{"path": "x", "size": 9489}], "beyond the end"),
        ([{"path": "x", "offset": -1}], "beyond the end"),
        ([{"path": "x", "size": -1}], "beyond the end"),
        ([{"path": "x"}, {"path": "x"}], "twice"),
        ([{"path": "a/link"}], "twice"),
        ([{"path": "a"}], "a file and a folder"),
        ([{"path": "x"}, {"path": "x/y"}], "a file and a folder"),
    ],
)
def test_what_cannot_be_mounted_is_refused(files: list[dict[str, Any]], why: str) -> None:
    changed = tuple(replace(PLAN.files[0], **each) for each in files)
    plan = replace(PLAN, files=changed)
    with pytest.raises(InvalidDocument, match=why):
        plan.check()
    with pytest.raises(InvalidDocument, match=why):
        MountPlan.parse(plan.to_json())


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", PLAN.to_json()[:-9], PLAN.to_json().replace(b"4096", b'"4096"')])
def test_what_is_no_plan(raw: bytes) -> None:
    with pytest.raises(InvalidDocument):
        MountPlan.parse(raw)
