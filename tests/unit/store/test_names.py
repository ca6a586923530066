from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelcar.errors import NotFound, StorageError
from modelcar.oci import Descriptor, Platform, media_types
from modelcar.store import Names, OciLayout

IMAGES = [Descriptor.of(media_types.INDEX, bytes([i])) for i in range(4)]


@pytest.fixture
def names(tmp_path: Path) -> Names:
    return Names(OciLayout(tmp_path / "layout"))


def index_of(names: Names) -> Any:
    return json.loads((names._layout.root / "index.json").read_bytes())


def test_naming(names: Names) -> None:
    assert names.list() == {}
    names.put("x.io/a:v1", IMAGES[0])
    names.put("x.io/a:v2", IMAGES[1])
    names.put("x.io/a:v1", IMAGES[2])
    assert names.list() == {"x.io/a:v2": IMAGES[1], "x.io/a:v1": IMAGES[2]}
    assert names.get("x.io/a:v1") == IMAGES[2]
    assert names.remove("x.io/a:v1") == IMAGES[2]
    for ask in (names.get, names.remove):
        with pytest.raises(NotFound, match=r"no image x\.io/a:v1"):
            ask("x.io/a:v1")


def test_a_name_carries_nothing_but_itself(names: Names) -> None:
    platform = Platform.parse("linux/amd64")
    names.put("v1", Descriptor.of(media_types.MANIFEST, b"x", platform=platform, annotations={"a": "b"}))
    assert list(index_of(names)["manifests"][0]) == ["mediaType", "digest", "size", "annotations"]
    assert names.get("v1").annotations == {}


def test_an_unchanged_edit_writes_nothing(names: Names) -> None:
    names.put("v1", IMAGES[0])
    before = (names._layout.root / "index.json").stat().st_ino
    names.put("v1", IMAGES[0])
    names.put(None, IMAGES[0])
    assert (names._layout.root / "index.json").stat().st_ino == before


def test_the_only_image(names: Names) -> None:
    with pytest.raises(NotFound, match="holds no image"):
        names.only()
    names.put(None, IMAGES[0])
    names.put(None, IMAGES[0])
    assert names.only() == IMAGES[0]
    names.put("v1", IMAGES[0])
    assert names.only() == IMAGES[0]  # named and unnamed, it is still one image
    names.put("v2", IMAGES[1])
    with pytest.raises(NotFound, match=r"2|3 images .*v1.*v2"):
        names.only()


def test_what_others_wrote_survives(names: Names) -> None:
    foreign = {
        "schemaVersion": 2,
        "vendor": {"a": [1]},
        "annotations": {"k": "v"},
        "manifests": [
            {**IMAGES[0].to_dict(), "platform": {"os": "x", "architecture": "y", "odd": 1}, "annotations": {"n": "1"}}
        ],
    }
    (names._layout.root / "index.json").write_text(json.dumps(foreign, indent=3))
    names.put("v1", IMAGES[1])
    names.remove("v1")
    assert index_of(names) == {**foreign, "mediaType": media_types.INDEX}


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b"\0" * 100, b'{"schemaVersion":2,"manifests":[{}]}'])
def test_a_damaged_index(names: Names, raw: bytes) -> None:
    (names._layout.root / "index.json").write_bytes(raw)
    for ask in (
        names.list,
        names.only,
        lambda: names.get("a"),
        lambda: names.put("a", IMAGES[0]),
        lambda: names.remove("a"),
    ):
        with pytest.raises(StorageError, match=r"index\.json is damaged"):
            ask()
    assert (names._layout.root / "index.json").read_bytes() == raw


def test_a_missing_index(names: Names) -> None:
    (names._layout.root / "index.json").unlink()
    for ask in (names.list, lambda: names.put("a", IMAGES[0])):
        with pytest.raises(NotFound, match=r"no file index\.json"):
            ask()
