"""Gathering: damaged, foreign, hostile and hidden things beside a manifest."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelcar.errors import NotVerified, RegistryError
from modelcar.oci import Descriptor, Digest, Index, Manifest, compact_json, media_types
from modelcar.registry import Registry
from modelcar.signing import evidence as module
from modelcar.signing.attach import attach_bundle, attach_layers
from modelcar.signing.bundle import BUNDLE
from modelcar.signing.evidence import gather_evidence
from modelcar.signing.places import LayoutPlace, RegistryPlace
from modelcar.signing.sign import Format, sign_image
from modelcar.signing.signatory import KeySignatory
from modelcar.signing.simplesigning import DSSE_ENVELOPE, SIMPLE_SIGNING, attestation_tag, signature_tag
from modelcar.signing.statement import COSIGN_SIGN, Statement
from modelcar.signing.verified import SIGNATURE, Bundle
from modelcar.signing.verify import verify_attestation, verify_signature
from modelcar.store import OciLayout
from tests.support.images import put_image
from tests.support.scripted_registry import Reply, ScriptedRegistry, error
from tests.support.signing import KEY, NOW, authority

from .conftest import IMAGE, AnyPlace, make_place

pytestmark = pytest.mark.slow

OURS = KeySignatory(KEY)
INDEX = media_types.INDEX


def attach(place: AnyPlace, root: Descriptor, raw: bytes, **changes: Any) -> Digest:
    """A referrer that carries any bytes as a bundle."""
    place.put_blob(media_types.EMPTY, b"{}")
    manifest = Manifest(
        artifact_type=BUNDLE,
        config=Descriptor.of(media_types.EMPTY, b"{}"),
        layers=(place.put_blob(BUNDLE, raw),),
        subject=root.plain(),
    ).edited(**changes)
    place.attach(manifest)
    return manifest.digest


def test_a_tag_that_leads_nowhere_hides_nothing(tmp_path: Path) -> None:
    layout = OciLayout(tmp_path / "layout")
    root = put_image(layout, IMAGE)
    place = LayoutPlace(layout)
    sign_image(place, root, OURS, formats=[Format.BUNDLE], created=NOW)
    gone = Descriptor.of(media_types.MANIFEST, b"nowhere")
    assert place.attachments.put(attestation_tag(root.digest), root.digest, gone, replaces=None)
    found = gather_evidence(place, root.digest)
    assert len(found.unreadable) == 1
    verify_signature(digest=root.digest, evidence=found, authority=authority(KEY))


def test_damage_is_told_and_hides_nothing(place: AnyPlace, root: Descriptor) -> None:
    attach(place, root, b"not JSON")
    attach(place, root, b'{"mediaType":"x"}')
    sign_image(place, root, OURS, created=NOW)
    two = (place.put_blob(BUNDLE, b"1"), place.put_blob(BUNDLE, b"2"))
    attach(place, root, b"", layers=two)
    found = gather_evidence(place, root.digest)
    assert sorted(reason.partition(": ")[2] for reason in found.unreadable) == [
        "bundle is not JSON: Expecting value: line 1 column 1 (char 0)",
        "bundle.mediaType is 'x'; v0.1 to v0.3 are understood",
        "it has 2 layers where one bundle belongs",
    ]
    verify_signature(digest=root.digest, evidence=found, authority=authority())


def test_other_kinds_of_referrers_are_not_even_read(place: AnyPlace, root: Descriptor) -> None:
    sbom = place.put_blob("application/spdx+json", b"{}")
    attach(place, root, b"", artifact_type="application/spdx+json", layers=(sbom,))
    found = gather_evidence(place, root.digest)
    assert (found.bundles, found.unreadable) == ((), ())


@pytest.mark.parametrize("artifact_type", [None, media_types.EMPTY])
def test_bundles_whose_listing_does_not_say_what_they_are(
    place: AnyPlace, root: Descriptor, artifact_type: str | None
) -> None:
    """What older clients write into the index of a registry without referrers API."""
    attach(place, root, OURS.sign_statement(Statement.about(root.digest, COSIGN_SIGN)).raw, artifact_type=artifact_type)
    verify_signature(digest=root.digest, evidence=gather_evidence(place, root.digest), authority=authority())


def test_more_than_anybody_needs(place: AnyPlace, root: Descriptor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_PIECES", 3)
    for i in range(5):
        attach(place, root, f"junk {i}".encode())
    found = gather_evidence(place, root.digest)
    assert len(found.unreadable) == 4
    assert found.unreadable[-1] == "referrer: 2 more than the 3 that are read"


def test_foreign_referrers_do_not_use_up_the_room(
    place: AnyPlace, root: Descriptor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_PIECES", 3)
    for i in range(8):
        layer = place.put_blob("application/x.other", f"foreign {i}".encode())
        attach(place, root, b"", artifact_type=None if i % 2 else "application/x.other", layers=(layer,))
    sign_image(place, root, OURS, formats=(Format.BUNDLE,), created=NOW)
    found = gather_evidence(place, root.digest)
    assert len(found.bundles) == 1


def test_huge_evidence_is_not_loaded(place: AnyPlace, root: Descriptor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_BYTES", 3000)
    for i in range(4):
        attach(place, root, bytes([i]) * 1000)
    found = gather_evidence(place, root.digest)
    assert sum("exceeds 0 MiB" in reason for reason in found.unreadable) == 1


def test_a_bundle_of_absurd_size_is_not_fetched(tmp_path: Path) -> None:
    layout = OciLayout(tmp_path / "layout")
    place, root = LayoutPlace(layout), put_image(layout, IMAGE)
    attach(place, root, b"", layers=(replace(place.put_blob(BUNDLE, b"small"), size=25 << 20),))
    assert "more than the" in gather_evidence(place, root.digest).unreadable[0]


def test_legacy_tags(place: AnyPlace, root: Descriptor) -> None:
    statement = Statement.about(root.digest, "https://example.com/scan", {"ok": True})
    bundle = OURS.sign_statement(statement)
    raw = compact_json(json.loads(bundle.raw)["dsseEnvelope"])
    layer = place.put_blob(DSSE_ENVELOPE, raw)
    junk = place.put_blob(SIMPLE_SIGNING, b"junk").annotated({SIGNATURE: "AA=="})
    attach_layers(place, root.digest, attestation_tag(root.digest), (junk, layer))
    attach_layers(place, root.digest, signature_tag(root.digest), (junk.annotated({SIGNATURE: ""}),))
    found = gather_evidence(place, root.digest)
    verified = verify_attestation(
        digest=root.digest, predicate_type="https://example.com/scan", evidence=found, authority=authority()
    )
    assert (verified.format, verified.predicate) == ("legacy", {"ok": True})
    assert [reason.partition(": ")[0] for reason in found.unreadable] == [
        f".sig layer {junk.digest.short}",
        f".att layer {junk.digest.short}",
    ]


# Registries that lie


@pytest.fixture
def remote(server: ScriptedRegistry, client: Registry, tmp_path: Path, embedded: str) -> RegistryPlace:
    server.knows_referrers = True
    place = make_place("scripted", tmp_path, client, embedded, server)
    assert isinstance(place, RegistryPlace)
    return place


def test_a_registry_that_hides_referrers(server: ScriptedRegistry, remote: RegistryPlace, root: Descriptor) -> None:
    sign_image(remote, root, OURS, created=NOW)
    server.on("GET", "/referrers/", Reply(200, {"Content-Type": INDEX}, Index().content))
    server.on("GET", ".sig", error(404, "MANIFEST_UNKNOWN"))
    found = gather_evidence(remote, root.digest)
    with pytest.raises(NotVerified) as raised:
        verify_signature(digest=root.digest, evidence=found, authority=authority())
    assert raised.value.reasons == ("nothing is attached to it",)


def test_a_registry_that_hides_one_format(server: ScriptedRegistry, remote: RegistryPlace, root: Descriptor) -> None:
    sign_image(remote, root, OURS, created=NOW)
    server.on("GET", "/referrers/", Reply(200, {"Content-Type": INDEX}, Index().content))
    found = gather_evidence(remote, root.digest)
    assert verify_signature(digest=root.digest, evidence=found, authority=authority()).format == "legacy"


@pytest.mark.parametrize("path", ["/referrers/", ".sig", ".att"])
@pytest.mark.parametrize("status", [401, 403, 500])
def test_what_cannot_be_asked_for_is_a_failure_and_not_an_absence(
    server: ScriptedRegistry, remote: RegistryPlace, root: Descriptor, path: str, status: int
) -> None:
    sign_image(remote, root, OURS, created=NOW)
    server.on("GET", path, error(status, "X"))
    with pytest.raises(RegistryError):
        gather_evidence(remote, root.digest)


def test_a_registry_that_lists_what_belongs_to_another_image(
    server: ScriptedRegistry, remote: RegistryPlace, root: Descriptor
) -> None:
    child = remote.document(root).manifests[0]  # type: ignore[union-attr]  # an index
    bundle = OURS.sign_statement(Statement.about(child.digest, COSIGN_SIGN))
    attach_bundle(remote, child, bundle, COSIGN_SIGN, created=NOW)
    listed = remote.referrers(child.digest)
    server.on("GET", "/referrers/", Reply(200, {"Content-Type": INDEX}, Index(manifests=listed).content))
    found = gather_evidence(remote, root.digest)
    assert found.bundles == ()
    assert "it does not refer to this manifest" in found.unreadable[0]


def test_a_registry_that_changes_a_bundle(server: ScriptedRegistry, remote: RegistryPlace, root: Descriptor) -> None:
    bundle = OURS.sign_statement(Statement.about(root.digest, COSIGN_SIGN))
    attach_bundle(remote, root, bundle, COSIGN_SIGN, created=NOW)
    layer = Digest.of(bundle.raw)
    server.on("GET", f"/blobs/{layer}", Reply(200, {}, bundle.raw[:-1] + b" "))
    found = gather_evidence(remote, root.digest)
    assert found.bundles == ()
    assert found.unreadable


def test_a_bundle_that_is_listed_and_missing(server: ScriptedRegistry, remote: RegistryPlace, root: Descriptor) -> None:
    bundle = OURS.sign_statement(Statement.about(root.digest, COSIGN_SIGN))
    attach_bundle(remote, root, bundle, COSIGN_SIGN, created=NOW)
    server.on("GET", f"/blobs/{Digest.of(bundle.raw)}", error(404, "BLOB_UNKNOWN"))
    found = gather_evidence(remote, root.digest)
    assert (found.bundles, len(found.unreadable)) == ((), 1)


def test_a_bundle_as_it_was_found(remote: RegistryPlace, root: Descriptor) -> None:
    made = OURS.sign_statement(Statement.about(root.digest, COSIGN_SIGN))
    attach_bundle(remote, root, made, COSIGN_SIGN, created=NOW)
    (found,) = gather_evidence(remote, root.digest).bundles
    assert found == Bundle(raw=made.raw, envelope=made.envelope, key_hint=KEY.public.hint)
