"""Round trips of OCI values: what was written is read back equal; what was read is written back to the byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelcar.errors import InvalidDigest, InvalidDocument, InvalidReference
from modelcar.oci import (
    Descriptor,
    Digest,
    ImageConfig,
    Index,
    Manifest,
    Reference,
    compact_json,
    parse_manifest,
    parse_object,
)
from tests.support.values import configs, descriptors, digests, indexes, json_values, manifests, references


@given(digests())
def test_digest(digest: Digest) -> None:
    assert Digest.parse(str(digest)) == digest


@given(references())
def test_reference(reference: Reference) -> None:
    assert Reference.parse(str(reference)) == reference


@given(st.text(max_size=30) | st.from_regex(r"[a-zA-Z0-9.:/@\[\]_-]{0,30}", fullmatch=True))
def test_any_text_is_a_reference_or_refused(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except InvalidReference:
        return
    assert Reference.parse(str(reference)) == reference


@given(st.text(max_size=80))
def test_any_text_is_a_digest_or_refused(text: str) -> None:
    with pytest.raises(InvalidDigest):
        Digest.parse(text)


@given(descriptors())
def test_descriptor(descriptor: Descriptor) -> None:
    assert Descriptor.from_dict(json.loads(compact_json(descriptor.to_dict()))) == descriptor


@given(manifests)
def test_manifest(manifest: Manifest) -> None:
    parsed = parse_manifest(manifest.content, manifest.media_type)
    assert parsed == manifest
    assert parsed.edited().content == manifest.content  # nothing is lost when it is written anew
    assert parsed.digest == manifest.digest == Digest.of(manifest.content)


@given(indexes)
def test_index(index: Index) -> None:
    parsed = parse_manifest(index.content)
    assert parsed == index
    assert parsed.edited().content == index.content


@given(configs)
def test_config(config: ImageConfig) -> None:
    parsed = ImageConfig.parse(config.content)
    assert parsed == config
    assert parsed.edited().content == config.content


@given(manifests, st.sampled_from([(", ", ": "), (" ,", " :")]), st.booleans())
def test_foreign_bytes_are_kept(manifest: Manifest, separators: tuple[str, str], sort: bool) -> None:
    raw = json.dumps(manifest.to_dict(), separators=separators, sort_keys=sort, indent=1).encode()
    parsed = parse_manifest(raw)
    assert parsed == manifest
    assert parsed.content == raw
    assert parsed.digest == Digest.of(raw)
    assert parsed.descriptor.size == len(raw)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), json_values))
def test_json(value: dict[str, Any]) -> None:
    assert parse_object(compact_json(value), "document") == value


@given(st.binary(max_size=60) | json_values.map(lambda v: json.dumps(v).encode()))
def test_any_bytes_are_a_document_or_refused(raw: bytes) -> None:
    try:
        value = parse_object(raw, "document")
    except InvalidDocument:
        return
    assert parse_object(compact_json(value), "document") == value


@given(st.dictionaries(st.sampled_from(["schemaVersion", "mediaType", "config", "layers", "manifests"]), json_values))
def test_any_object_is_a_manifest_or_refused(value: dict[str, Any]) -> None:
    try:
        document = parse_manifest(compact_json(value))
    except InvalidDocument:
        return
    assert isinstance(document, Index | Manifest)
