"""OpenSSF Model Signing manifests, against one computed from the folder by the specification's own words."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from modelcar.errors import NotVerified, UsageError
from modelcar.layers.hashing import CHUNK_SIZE
from modelcar.layers.index import ModelIndex
from modelcar.oci import Digest
from modelcar.signing.attestations.image import AttestedImage
from modelcar.signing.attestations.oms import oms_statement, verify_oms, with_oms_hint
from modelcar.signing.dsse import IN_TOTO, Envelope, pre_authentication_encoding
from modelcar.signing.keys.authority import KeyAuthority
from modelcar.signing.keys.generate import generate_key
from modelcar.signing.signatory import KeySignatory
from modelcar.signing.statement import COSIGN_SIGN, Statement
from modelcar.signing.verified import Authority, Bundle, Evidence, Verified
from tests.unit.signing.attestations.conftest import Attest, first_shard


def contents(folder: Path) -> dict[str, bytes]:
    """What model_signing looks at: every file that is not Git's own, in the order of their path's parts."""
    found = {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    return {str(p): found[p] for p in sorted(found, key=lambda p: p.parts) if p.parts[0] != ".gitattributes"}


def test_small_files_are_listed_whole_with_the_digest_of_their_content(image: AttestedImage, folder: Path) -> None:
    statement = oms_statement(image.model, "tiny")
    expected = [(name, hashlib.sha256(content)) for name, content in contents(folder).items()]
    assert statement.predicate["resources"] == [
        {"name": name, "algorithm": "sha256", "digest": digest.hexdigest()} for name, digest in expected
    ]
    assert statement.predicate["serialization"]["method"] == "files"
    (subject,) = statement.subjects
    assert subject.digests == {"sha256": hashlib.sha256(b"".join(d.digest() for _, d in expected)).hexdigest()}


def test_large_files_are_listed_by_shards_that_nobody_had_to_hash(attest: Attest, folder: Path) -> None:
    (folder / "model-00001-of-00003.safetensors").write_bytes(first_shard(2 * CHUNK_SIZE + 17))
    statement = oms_statement(attest().model, "tiny")
    algorithm = f"sha256-sharded-{CHUNK_SIZE}"
    expected = [
        {
            "name": f"{name}:{start}:{min(start + CHUNK_SIZE, len(content))}",
            "algorithm": algorithm,
            "digest": hashlib.sha256(content[start : start + CHUNK_SIZE]).hexdigest(),
        }
        for name, content in contents(folder).items()
        for start in range(0, len(content), CHUNK_SIZE)
    ]
    assert statement.predicate["resources"] == expected
    assert statement.predicate["serialization"] == {
        "method": "shards",
        "hash_type": "sha256",
        "shard_size": CHUNK_SIZE,
        "allow_symlinks": False,
        "ignore_paths": [".git", ".gitattributes", ".github", ".gitignore"],
    }


def test_large_files_are_listed_whole_where_their_digest_was_recorded(attest: Attest, folder: Path) -> None:
    (folder / "model-00001-of-00003.safetensors").write_bytes(first_shard(CHUNK_SIZE + 1))
    statement = oms_statement(attest(content_digests=True).model, "tiny")
    assert [r["digest"] for r in statement.predicate["resources"]] == [
        hashlib.sha256(content).hexdigest() for content in contents(folder).values()
    ]


def test_another_byte_in_a_file_is_another_manifest(attest: Attest, folder: Path) -> None:
    before = oms_statement(attest().model, "tiny")
    weights = folder / "model-00002-of-00003.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    after = oms_statement(attest().model, "tiny")
    assert before.subjects[0].digests != after.subjects[0].digests
    pairs = zip(before.predicate["resources"], after.predicate["resources"], strict=True)
    assert [a["name"] for a, b in pairs if a != b] == [weights.name]


def test_names_with_colons_cannot_be_listed_by_shards(attest: Attest, folder: Path) -> None:
    (folder / "model-00001-of-00003.safetensors").write_bytes(first_shard(CHUNK_SIZE + 1))
    (folder / "a:b.txt").write_text("x")
    with pytest.raises(UsageError, match=r"a:b\.txt"):
        oms_statement(attest().model, "tiny")


def test_chunks_of_another_cut_are_refused(attest: Attest, folder: Path) -> None:
    (folder / "model-00001-of-00003.safetensors").write_bytes(first_shard(2 * CHUNK_SIZE))
    model = attest().model
    layer = next(layer for layer in model.layers if any(c.size == CHUNK_SIZE for c in layer.chunks))
    first = next(i for i, c in enumerate(layer.chunks) if c.size == CHUNK_SIZE)
    chunk = layer.chunks[first]
    halves = (
        replace(chunk, size=CHUNK_SIZE // 2),
        replace(chunk, offset=chunk.offset + CHUNK_SIZE // 2, size=CHUNK_SIZE // 2),
    )
    cut = replace(layer, chunks=(*layer.chunks[:first], *halves, *layer.chunks[first + 1 :]))
    other = replace(model, layers=tuple(cut if x is layer else x for x in model.layers))
    with pytest.raises(UsageError, match="does not record"):
        oms_statement(other, "tiny")


def test_a_model_without_files_has_no_manifest() -> None:
    with pytest.raises(UsageError, match="no file"):
        oms_statement(ModelIndex(root="/models", layers=()), "tiny")


def test_a_signed_manifest_holds_for_its_files_and_its_signer(attest: Attest, folder: Path) -> None:
    image = attest()
    signatory, stranger = KeySignatory(generate_key()), KeySignatory(generate_key())
    bundle = with_oms_hint(signatory.sign_statement(oms_statement(image.model, "tiny")), signatory)
    digest = image.root.digest

    signature = signatory.sign_statement(Statement.about(digest, COSIGN_SIGN))

    def verify(bundle: Bundle, model: ModelIndex, authority: Authority) -> Verified:
        evidence = Evidence(bundles=(bundle, signature))
        return verify_oms(digest=digest, model=model, evidence=evidence, authority=authority)

    assert verify(bundle, image.model, signatory.authority).digest == digest
    with pytest.raises(NotVerified, match="no model signing manifest"):
        verify(bundle, image.model, stranger.authority)
    (folder / "config.json").write_text('{"model_type": "another"}')
    with pytest.raises(NotVerified) as caught:
        verify(bundle, attest().model, signatory.authority)
    assert caught.value.reasons[0] == "bundle 1: it lists other files than this image holds"
    (raw,) = bundle.envelope.signatures
    flipped = replace(bundle.envelope, signatures=(raw[:-1] + bytes([raw[-1] ^ 1]),))
    with pytest.raises(NotVerified):
        verify(replace(bundle, envelope=flipped), image.model, signatory.authority)


def test_a_manifest_says_nothing_about_an_image_that_only_claims_its_files(attest: Attest) -> None:
    """Anybody can write an index that lists the files of a signed manifest over layers that hold others."""
    image = attest()
    files, publisher, mallory = (KeySignatory(generate_key()) for _ in range(3))
    bundle = files.sign_statement(oms_statement(image.model, "tiny"))
    trusted = KeyAuthority([*files.authority.keys, *publisher.authority.keys])
    digest, other = image.root.digest, Digest.of(b"another image with the same index")

    def verify(digest: Digest, *more: Bundle) -> Verified:
        return verify_oms(
            digest=digest, model=image.model, evidence=Evidence(bundles=(bundle, *more)), authority=trusted
        )

    signature = publisher.sign_statement(Statement.about(digest, COSIGN_SIGN))
    assert verify(digest, signature).signer.fingerprint == files.authority.keys[0].fingerprint
    for digest_, more in (
        (digest, ()),
        (other, (signature,)),
        (digest, (mallory.sign_statement(Statement.about(digest, COSIGN_SIGN)),)),
        (digest, (publisher.sign_statement(Statement.about(digest, "https://acme.example/scan-failed")),)),
    ):
        with pytest.raises(NotVerified, match="did not sign that it holds them"):
            verify(digest_, *more)


def test_a_payload_of_another_type_is_no_manifest(attest: Attest) -> None:
    image = attest()
    key = generate_key()
    payload = oms_statement(image.model, "tiny").to_bytes()
    signature = KeySignatory(key).sign_statement(Statement.about(image.root.digest, COSIGN_SIGN))

    def signed_as(payload_type: str) -> Evidence:
        signed = key.sign(pre_authentication_encoding(payload_type, payload))
        envelope = Envelope(payload=payload, payload_type=payload_type, signatures=(signed,))
        return Evidence(bundles=(Bundle(raw=b"", envelope=envelope), signature))

    def verify(evidence: Evidence) -> Verified:
        authority = KeyAuthority([key.public])
        return verify_oms(digest=image.root.digest, model=image.model, evidence=evidence, authority=authority)

    assert verify(signed_as(IN_TOTO)).digest == image.root.digest
    with pytest.raises(NotVerified) as caught:
        verify(signed_as("application/json"))
    assert "application/json, not a statement" in caught.value.reasons[0]
