"""Signing where the image lies, whatever kind of place that is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelcar.errors import NotVerified
from modelcar.oci import Descriptor, Manifest, media_types
from modelcar.signing.attach import attach_bundle, attach_layers, attach_signature
from modelcar.signing.bundle import BUNDLE
from modelcar.signing.evidence import gather_evidence
from modelcar.signing.places import documents
from modelcar.signing.sign import BOTH, Format, sign_image
from modelcar.signing.signatory import KeySignatory
from modelcar.signing.simplesigning import signature_tag, simple_payload
from modelcar.signing.statement import COSIGN_SIGN, Statement
from modelcar.signing.verified import SIGNATURE, SimpleSignature
from modelcar.signing.verify import verify_signature
from tests.support.signing import KEY, NOW, OTHER_KEY, authority

from .conftest import AnyPlace

pytestmark = pytest.mark.slow

OURS, THEIRS = KeySignatory(KEY), KeySignatory(OTHER_KEY)


def sign(place: AnyPlace, root: Descriptor, signatory: KeySignatory = OURS, formats: tuple[Format, ...] = BOTH) -> int:
    """How many new signatures that made."""
    return sum(s.new for s in sign_image(place, root, signatory, formats=formats, created=NOW))


def test_the_index_and_every_manifest(place: AnyPlace, root: Descriptor) -> None:
    assert [d.digest for d in documents(place, root)][-1] == root.digest
    assert sign(place, root) == 6
    for document in documents(place, root):
        evidence = gather_evidence(place, document.digest)
        assert not evidence.unreadable
        for part in (replace(evidence, simple=()), replace(evidence, bundles=())):
            verify_signature(digest=document.digest, evidence=part, authority=authority())
            with pytest.raises(NotVerified):
                verify_signature(digest=document.digest, evidence=part, authority=authority(OTHER_KEY))


def test_unsigned(place: AnyPlace, root: Descriptor) -> None:
    evidence = gather_evidence(place, root.digest)
    with pytest.raises(NotVerified) as raised:
        verify_signature(digest=root.digest, evidence=evidence, authority=authority())
    assert raised.value.reasons == ("nothing is attached to it",)


def test_signing_again_adds_nothing_and_another_key_adds_its_own(place: AnyPlace, root: Descriptor) -> None:
    assert (sign(place, root), sign(place, root)) == (6, 0)
    assert (sign(place, root, THEIRS), sign(place, root, THEIRS), sign(place, root)) == (6, 0, 0)
    evidence = gather_evidence(place, root.digest)
    assert (len(evidence.bundles), len(evidence.simple)) == (2, 2)
    for key in (KEY, OTHER_KEY):
        verify_signature(digest=root.digest, evidence=evidence, authority=authority(key))


@pytest.mark.parametrize(("chosen", "other"), [(Format.BUNDLE, Format.LEGACY), (Format.LEGACY, Format.BUNDLE)])
def test_one_format_and_then_the_other(place: AnyPlace, root: Descriptor, chosen: Format, other: Format) -> None:
    assert sign(place, root, formats=(chosen,)) == 3
    evidence = gather_evidence(place, root.digest)
    assert (len(evidence.bundles), len(evidence.simple)) == ((1, 0) if chosen is Format.BUNDLE else (0, 1))
    assert (sign(place, root), sign(place, root, formats=(other,))) == (3, 0)


def test_a_forgery_does_not_keep_us_from_signing(place: AnyPlace, root: Descriptor) -> None:
    """Somebody attached what only looks like our signature."""
    forged = THEIRS.sign_statement(Statement.about(root.digest, COSIGN_SIGN))
    attach_bundle(place, root, replace(forged, key_hint=KEY.public.hint), COSIGN_SIGN, created=NOW)
    attach_signature(place, root.digest, SimpleSignature.signed(simple_payload(root.digest, place.repository), b"no"))
    assert sign(place, root) == 6
    evidence = gather_evidence(place, root.digest)
    verify_signature(digest=root.digest, evidence=replace(evidence, simple=()), authority=authority())
    verify_signature(digest=root.digest, evidence=replace(evidence, bundles=()), authority=authority())


def test_the_referrer_is_as_cosign_makes_it(place: AnyPlace, root: Descriptor) -> None:
    sign(place, root, formats=(Format.BUNDLE,))
    (listed,) = place.referrers(root.digest)
    assert listed.artifact_type == BUNDLE
    manifest = place.document(listed)
    assert isinstance(manifest, Manifest)
    assert (manifest.artifact_type, manifest.subject) == (BUNDLE, root.plain())
    assert manifest.config == Descriptor.of(media_types.EMPTY, b"{}", artifact_type=BUNDLE)
    assert [layer.media_type for layer in manifest.layers] == [BUNDLE]
    assert manifest.annotations == {
        "org.opencontainers.image.created": "2026-01-02T03:04:05Z",
        "dev.sigstore.bundle.content": "dsse-envelope",
        "dev.sigstore.bundle.predicateType": COSIGN_SIGN,
    }


def test_layers_of_others_stay(place: AnyPlace, root: Descriptor) -> None:
    """cosign's own signature image, with a config and annotations that we would not write."""
    payload = simple_payload(root.digest, "elsewhere.example/x")
    theirs = place.put_blob("application/vnd.dev.cosign.simplesigning.v1+json", payload)
    theirs = theirs.annotated({SIGNATURE: "AA==", "dev.sigstore.cosign/bundle": "{}"})
    attach_layers(place, root.digest, signature_tag(root.digest), (theirs,))
    sign(place, root, formats=(Format.LEGACY,))
    image = place.tagged(signature_tag(root.digest))
    assert image is not None
    assert image.layers[0] == theirs
    assert len(image.layers) == 2


def test_a_signature_for_another_repository_is_added_where_that_matters(place: AnyPlace, root: Descriptor) -> None:
    payload = simple_payload(root.digest, "elsewhere.example/x")
    attach_signature(place, root.digest, OURS.sign_payload(payload))
    assert sign(place, root, formats=(Format.LEGACY,)) == 3
    assert len(gather_evidence(place, root.digest).simple) == 2


def test_only_documents_are_read(place: AnyPlace, root: Descriptor, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    kind = type(place)
    original = kind.blob

    def spy(self: AnyPlace, descriptor: Descriptor, limit: int) -> bytes:
        read.append(descriptor.media_type)
        return original(self, descriptor, limit)  # type: ignore[arg-type]  # a place of this kind

    monkeypatch.setattr(kind, "blob", spy)
    sign(place, root)
    sign(place, root)
    assert not any("layer" in media_type for media_type in read)
    assert read
