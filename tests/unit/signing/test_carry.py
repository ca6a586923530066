"""What is attached to an image moves with it, between every two kinds of place, and nothing at the target is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelcar.oci import Descriptor, Index, Manifest, Reference, media_types
from modelcar.registry import Registry
from modelcar.signing import carry as module
from modelcar.signing.attach import attach_bundle
from modelcar.signing.carry import carry_attachments
from modelcar.signing.evidence import gather_evidence
from modelcar.signing.places import LayoutPlace, RegistryPlace, documents
from modelcar.signing.sign import Format, sign_image
from modelcar.signing.signatory import KeySignatory
from modelcar.signing.simplesigning import signature_tag
from modelcar.signing.statement import Statement
from modelcar.signing.verify import verify_attestation, verify_signature
from modelcar.store import OciLayout
from tests.support.images import put_image
from tests.support.scripted_registry import Reply, ScriptedRegistry, error
from tests.support.signing import KEY, NOW, OTHER_KEY, authority

from .conftest import IMAGE, AnyPlace, make_place

pytestmark = pytest.mark.slow

SCAN = "https://example.com/scan"


@pytest.fixture(params=["layout", "embedded", "fallback"])
def target(
    request: pytest.FixtureRequest, tmp_path: Path, client: Registry, embedded: str, server: ScriptedRegistry
) -> AnyPlace:
    """Another place of each kind that has the image already, unsigned."""
    folder = tmp_path / f"{tmp_path.name}target"
    folder.mkdir()
    return make_place(request.param, folder, client, embedded, server)


def other_kind(place: AnyPlace, root: Descriptor) -> Manifest:
    """An SBOM of the root, and a signature of that SBOM."""
    place.put_blob(media_types.EMPTY, b"{}")
    sbom = Manifest(
        artifact_type="application/spdx+json",
        config=Descriptor.of(media_types.EMPTY, b"{}"),
        layers=(place.put_blob("application/spdx+json", b'{"spdx":1}'),),
        subject=root.plain(),
    )
    place.attach(sbom)
    bundle = KeySignatory(KEY).sign_statement(Statement.about(sbom.digest, SCAN))
    attach_bundle(place, sbom.descriptor, bundle, SCAN, created=NOW)
    return sbom


def test_everything_comes_along(place: AnyPlace, target: AnyPlace, root: Descriptor) -> None:
    sign_image(place, root, KeySignatory(KEY), created=NOW)
    bundle = KeySignatory(KEY).sign_statement(Statement.about(root.digest, SCAN, {"ok": True}))
    attach_bundle(place, root, bundle, SCAN, created=NOW)
    sbom = other_kind(place, root)
    carried = carry_attachments(place, target, root)
    assert (carried.count, carried.skipped) == (9, [])  # two signatures of each of three, a scan, an SBOM and its own
    for document in documents(target, root):
        before, after = gather_evidence(place, document.digest), gather_evidence(target, document.digest)
        assert {b.raw for b in after.bundles} == {b.raw for b in before.bundles}
        assert after.simple == before.simple
        verify_signature(digest=document.digest, evidence=after, authority=authority())
    evidence = gather_evidence(target, root.digest)
    found = verify_attestation(digest=root.digest, predicate_type=SCAN, evidence=evidence, authority=authority())
    assert found.predicate == {"ok": True}
    assert sbom.digest in {d.digest for d in target.referrers(root.digest)}
    assert target.blob(sbom.layers[0], 1000) == b'{"spdx":1}'
    of_sbom = gather_evidence(target, sbom.digest)
    verify_attestation(digest=sbom.digest, predicate_type=SCAN, evidence=of_sbom, authority=authority())


def test_a_second_time_nothing_is_written(place: AnyPlace, target: AnyPlace, root: Descriptor) -> None:
    sign_image(place, root, KeySignatory(KEY), created=NOW)
    first = carry_attachments(place, target, root)
    before = gather_evidence(target, root.digest)
    second = carry_attachments(place, target, root)
    assert (first.count, second.count) == (6, 6)
    assert gather_evidence(target, root.digest) == before


def test_signatures_of_both_sides_are_merged(place: AnyPlace, target: AnyPlace, root: Descriptor) -> None:
    sign_image(place, root, KeySignatory(KEY), created=NOW)
    sign_image(target, root, KeySignatory(OTHER_KEY), created=NOW)
    carry_attachments(place, target, root)
    evidence = gather_evidence(target, root.digest)
    assert (len(evidence.bundles), len(evidence.simple)) == (2, 2)
    for key in (KEY, OTHER_KEY):
        verify_signature(digest=root.digest, evidence=evidence, authority=authority(key))


def test_what_is_too_large_is_left_behind_and_told(
    place: AnyPlace, target: AnyPlace, root: Descriptor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_SIZE", 5)
    sbom = other_kind(place, root)
    carried = carry_attachments(place, target, root)
    assert carried.count == 0
    assert carried.skipped == [f"referrer {sbom.digest}: it has 12 bytes, too many to take along"]


def test_a_tag_that_leads_to_something_large_is_left_behind(
    place: AnyPlace, target: AnyPlace, root: Descriptor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_SIZE", 5)
    sign_image(place, root, KeySignatory(KEY), formats=(Format.LEGACY,), created=NOW)
    carried = carry_attachments(place, target, root)
    assert carried.count == 0
    assert len(carried.skipped) == 3
    assert all(".sig: it has" in line for line in carried.skipped)
    monkeypatch.undo()
    assert carry_attachments(place, target, root).count == 3


def test_an_attachment_that_is_listed_and_missing(
    server: ScriptedRegistry, client: Registry, tmp_path: Path, embedded: str, root: Descriptor
) -> None:
    server.knows_referrers = True
    place = make_place("scripted", tmp_path, client, embedded, server)
    sign_image(place, root, KeySignatory(KEY), formats=(Format.BUNDLE,), created=NOW)
    (listed,) = place.referrers(root.digest)
    server.on("GET", f"/manifests/{listed.digest}", error(404, "MANIFEST_UNKNOWN"))
    layout = OciLayout(tmp_path / "target")
    put_image(layout, IMAGE)
    carried = carry_attachments(place, LayoutPlace(layout), root)
    assert carried.count == 2
    assert len(carried.skipped) == 1
    assert str(listed.digest) in carried.skipped[0]


def test_what_belongs_to_another_image_is_not_taken_for_ours(
    server: ScriptedRegistry, client: Registry, tmp_path: Path, embedded: str, root: Descriptor
) -> None:
    """A registry may list anything; a layout would then say that it belongs to this image."""
    server.knows_referrers = True
    place = make_place("scripted", tmp_path, client, embedded, server)
    part = documents(place, root)[0]
    bundle = KeySignatory(KEY).sign_statement(Statement.about(part.digest, SCAN))
    attach_bundle(place, part, bundle, SCAN, created=NOW)
    index = Index(manifests=place.referrers(part.digest))
    server.on("GET", f"/referrers/{root.digest}", Reply(200, {"Content-Type": index.media_type}, index.content))
    layout = OciLayout(tmp_path / "target")
    put_image(layout, IMAGE)
    carried = carry_attachments(place, LayoutPlace(layout), root)
    assert carried.count == 1
    assert [line.partition(": ")[2] for line in carried.skipped] == [f"it does not refer to {root.digest}"]
    assert LayoutPlace(layout).referrers(root.digest) == ()


def test_another_platform_that_was_not_copied_is_no_failure(
    client: Registry, embedded: str, tmp_path: Path, root: Descriptor
) -> None:
    layout = OciLayout(tmp_path / "partial")
    put_image(layout, IMAGE)
    place = LayoutPlace(layout)
    sign_image(place, root, KeySignatory(KEY), created=NOW)
    missing = documents(place, root)[0]
    layout.delete(missing.digest)
    assert missing not in documents(place, root)
    target = RegistryPlace(client, Reference.parse(f"{embedded}/test/partial:v1"))
    full = OciLayout(tmp_path / "full")
    client.push(full, put_image(full, IMAGE), target.ref)
    assert carry_attachments(place, target, root).count == 4
    assert target.tagged(signature_tag(missing.digest)) is None
