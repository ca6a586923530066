from __future__ import annotations

import json
from typing import Any

import pytest

from modelcar.errors import DigestMismatch, InvalidDocument, SizeMismatch, UsageError
from modelcar.oci import Descriptor, Digest, ImageConfig, Index, Manifest, Platform, media_types, parse_manifest

DIGEST = f"sha256:{'0' * 64}"
DESCRIPTOR = {"mediaType": "text/plain", "digest": DIGEST, "size": 1}
MANIFEST: dict[str, Any] = {
    "schemaVersion": 2,
    "mediaType": media_types.MANIFEST,
    "config": DESCRIPTOR,
    "layers": [DESCRIPTOR],
}
INDEX: dict[str, Any] = {"schemaVersion": 2, "mediaType": media_types.INDEX, "manifests": [DESCRIPTOR]}
CONFIG: dict[str, Any] = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [DIGEST]}}


def raw(base: dict[str, Any], **changes: Any) -> bytes:
    merged = {**base, **changes}
    return json.dumps({k: v for k, v in merged.items() if v is not ...}).encode()


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"schemaVersion": 1}, "schemaVersion"),
        ({"schemaVersion": "2"}, "schemaVersion"),
        ({"mediaType": []}, "mediaType"),
        ({"mediaType": {}}, "mediaType"),
        ({"config": ...}, "config"),
        ({"config": None}, "config"),
        ({"config": {**DESCRIPTOR, "digest": "x"}}, r"config\.digest"),
        ({"config": {**DESCRIPTOR, "size": -1}}, r"config\.size"),
        ({"config": {**DESCRIPTOR, "Size": 2}}, r"config\.Size"),
        ({"config": {**DESCRIPTOR, "data": "é"}}, r"config\.data"),
        ({"config": {**DESCRIPTOR, "data": "!"}}, r"config\.data"),
        ({"config": {**DESCRIPTOR, "platform": {"OS": "x"}}}, r"config\.platform\.OS"),
        ({"layers": {}}, "layers"),
        ({"layers": [DESCRIPTOR, {}]}, r"layers\[1\]\."),
        ({"layers": [None]}, r"layers\[0\]"),
        ({"Layers": []}, "Layers"),
        ({"annotations": {"a": 1}}, "annotations"),
        ({"subject": "x"}, "subject"),
        ({"manifests": []}, "both"),
        ({"manifests": [DESCRIPTOR]}, "both"),
    ],
)
def test_malformed_manifests(changes: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidDocument, match=path):
        parse_manifest(raw(MANIFEST, **changes))


@pytest.mark.parametrize("foreign", [{"config": DESCRIPTOR}, {"layers": []}, {"fsLayers": []}])
@pytest.mark.parametrize("own", [{}, {"manifests": ...}, {"mediaType": ...}])
def test_an_index_that_others_could_read_as_a_manifest(foreign: dict[str, Any], own: dict[str, Any]) -> None:
    with pytest.raises(InvalidDocument):
        parse_manifest(raw({**INDEX, **foreign}, **own), media_types.INDEX)


def test_the_bytes_decide_where_the_media_type_is_vague() -> None:
    assert isinstance(parse_manifest(raw(INDEX, mediaType=...), "application/json"), Index)
    assert isinstance(parse_manifest(raw(INDEX, mediaType="")), Index)
    assert isinstance(parse_manifest(raw(MANIFEST, mediaType=...)), Manifest)
    docker = parse_manifest(raw(MANIFEST, mediaType=media_types.DOCKER_MANIFEST))
    assert docker.media_type == media_types.DOCKER_MANIFEST


@pytest.mark.parametrize(("base", "claimed"), [(MANIFEST, media_types.INDEX), (INDEX, media_types.MANIFEST)])
def test_another_kind_than_was_claimed(base: dict[str, Any], claimed: str) -> None:
    with pytest.raises(InvalidDocument):
        parse_manifest(raw(base), claimed)


def test_schema_1_is_named() -> None:
    with pytest.raises(InvalidDocument) as caught:
        parse_manifest(raw({"schemaVersion": 1, "fsLayers": []}))
    assert caught.value.hint == "Docker schema 1 images are not supported"


def test_edits_return_new_values() -> None:
    manifest = Manifest.parse(raw(MANIFEST, custom={"b": 1, "a": [2]}))
    layer = Descriptor.of("text/plain", b"x", annotations={"a": "b"})
    edited = manifest.append(layer).edited(annotations={"k": "v"}, subject=layer.plain())
    assert manifest.content == raw(MANIFEST, custom={"b": 1, "a": [2]})
    assert edited.layers[-1] == layer
    assert edited.subject == layer.plain()
    assert json.loads(edited.content)["custom"] == {"b": 1, "a": [2]}
    assert edited.digest != manifest.digest
    assert edited.blobs == (manifest.config, *manifest.layers, layer)
    index = Index.parse(raw(INDEX)).append(edited.descriptor).edited(annotations={"k": "v"}, subject=layer.plain())
    assert index.manifests[-1].digest == edited.digest
    assert parse_manifest(index.content) == index


def test_embedded_data_is_checked() -> None:
    entry = Descriptor.of("text/plain", b"hello", data=b"hello").to_dict()
    assert Descriptor.from_dict(entry).data == b"hello"
    with pytest.raises(SizeMismatch):
        Descriptor.from_dict({**entry, "data": "aGVsbG8h"})
    with pytest.raises(DigestMismatch):
        Descriptor.from_dict({**entry, "data": "amVsbG8="})


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"os": ...}, "os"),
        ({"rootfs": ...}, "rootfs"),
        ({"rootfs": {"Diff_IDs": []}}, "Diff_IDs"),
        ({"rootfs": {"diff_ids": ["x"]}}, "diff_ids"),
        ({"rootfs": {"diff_ids": DIGEST}}, "diff_ids"),
        ({"config": "x"}, "config"),
        ({"history": [1]}, "history"),
        ({"RootFS": {}}, "RootFS"),
    ],
)
def test_malformed_configs(changes: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidDocument, match=path):
        ImageConfig.parse(raw(CONFIG, **changes))


def test_layers_go_underneath() -> None:
    config = ImageConfig.parse(raw(CONFIG, history=[{"created_by": "base"}], created="2020-01-01T00:00:00Z"))
    lower = Digest.of(b"model")
    merged = config.prepend_layers([lower], [{"created_by": "model"}])
    assert merged.diff_ids == (lower, *config.diff_ids)
    assert [h["created_by"] for h in merged.history] == ["model", "base"]
    assert json.loads(merged.content)["created"] == "2020-01-01T00:00:00Z"


@pytest.mark.parametrize("text", ["", "linux", "linux/", "/amd64", "a/b/c/d"])
def test_malformed_platforms(text: str) -> None:
    with pytest.raises(UsageError, match="is not a platform") as caught:
        Platform.parse(text)
    assert caught.value.exit_status == 2


def test_selecting_a_platform() -> None:
    names = ["linux/arm/v6", "linux/arm/v7", "linux/amd64", "unknown/unknown"]
    entries = [Descriptor.of("text/plain", n.encode(), platform=Platform.parse(n)) for n in names]
    index = Index(manifests=(Descriptor.of("text/plain", b"none"), *entries))
    assert [index.select(Platform.parse(n)) for n in names] == entries
    assert index.select(Platform.parse("linux/arm")) == entries[0]
    assert index.select(Platform.parse("linux/amd64/v3")) == entries[2]
    assert index.select(Platform.parse("linux/arm64")) is None
    assert [str(Platform.parse(n)) for n in names] == names
