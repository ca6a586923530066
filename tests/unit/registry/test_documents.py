"""Manifests by tag and digest, and what refers to them."""

from __future__ import annotations

import json

import pytest

from modelcar.errors import (
    DigestMismatch,
    InvalidContent,
    InvalidDocument,
    ProtocolViolation,
    RemoteNotFound,
    SizeMismatch,
    UsageError,
)
from modelcar.oci import Descriptor, Digest, Index, Manifest, Reference, media_types
from modelcar.registry import referrers
from tests.support.scripted_registry import INDEX, Default, Reply, Request, ScriptedRegistry, changed, cut_after, error

from .conftest import Client, Image, random_image, reference

pytestmark = pytest.mark.slow

OTHER = Digest.of(b"something else")


@pytest.fixture
def image(server: ScriptedRegistry, client: Client) -> Image:
    made = random_image()
    client().push(made.store, made.descriptor, reference(server))
    return made


def test_resolve(server: ScriptedRegistry, client: Client, image: Image) -> None:
    ref = reference(server)
    assert client().resolve(ref) == image.descriptor
    assert client().resolve(ref.with_digest(image.manifests[1].digest)) == image.manifests[1].descriptor
    accept = server.requests("HEAD", "/manifests/")[0].headers["Accept"]
    assert all(kind in accept for kind in media_types.INDEXES | media_types.MANIFESTS)


@pytest.mark.parametrize("missing", ["Docker-Content-Digest", "Content-Type"])
def test_resolve_reads_where_a_head_does_not_tell(
    server: ScriptedRegistry, client: Client, image: Image, missing: str
) -> None:
    server.on("HEAD", "/manifests/", changed(headers={missing: ""}))
    assert client().resolve(reference(server)) == image.descriptor
    assert server.requests("GET", "/manifests/")


def test_resolve_reads_where_there_is_no_head(server: ScriptedRegistry, client: Client, image: Image) -> None:
    server.on("HEAD", "/manifests/", Reply(405))
    assert client().resolve(reference(server)) == image.descriptor


def test_missing(server: ScriptedRegistry, client: Client, image: Image) -> None:
    with pytest.raises(RemoteNotFound, match=r"org/model:v9.*404") as caught:
        client().resolve(reference(server, "org/model:v9"))
    assert caught.value.exit_status == 3
    with pytest.raises(RemoteNotFound, match="MANIFEST_UNKNOWN"):
        client().manifest(reference(server, "org/model:v9"))


def test_a_head_that_lies_about_the_digest(server: ScriptedRegistry, client: Client, image: Image) -> None:
    server.on("HEAD", "/manifests/", changed(headers={"Docker-Content-Digest": str(OTHER)}))
    with pytest.raises(DigestMismatch) as caught:
        client().resolve(reference(server).with_digest(image.index.digest))
    assert caught.value.exit_status == 1
    server.on("HEAD", "/manifests/", changed(headers={"Docker-Content-Digest": "sha256:nonsense"}))
    with pytest.raises(ProtocolViolation, match="not a digest"):
        client().resolve(reference(server))


def test_content_that_is_not_what_was_asked_for(server: ScriptedRegistry, client: Client, image: Image) -> None:
    other = changed(body=Index(annotations={"evil": "yes"}).content, headers={"Docker-Content-Digest": str(OTHER)})
    for ref in (reference(server), reference(server).with_digest(image.index.digest)):
        server.on("GET", "/manifests/", other)
        with pytest.raises(DigestMismatch, match=server.name):
            client().manifest(ref)


def test_a_child_must_have_its_promised_size(server: ScriptedRegistry, client: Client, image: Image) -> None:
    child = image.index.manifests[0]
    assert client().manifest(reference(server), child) == image.manifests[0]
    lie = Descriptor(media_type=child.media_type, digest=child.digest, size=child.size + 1)
    with pytest.raises(SizeMismatch):
        client().manifest(reference(server), lie)


def test_giant_manifests_are_not_read(server: ScriptedRegistry, client: Client, image: Image) -> None:
    server.on("GET", "/manifests/", Reply(200, {"Content-Type": INDEX}, bytes(5 << 20)))
    with pytest.raises(ProtocolViolation, match="more than 4194304 bytes"):
        client().manifest(reference(server))


def test_giant_errors_are_cut(server: ScriptedRegistry, client: Client) -> None:
    server.on("GET", "/manifests/", Reply(404, {"Content-Type": "text/plain"}, b"no " * (5 << 20)))
    with pytest.raises(RemoteNotFound) as caught:
        client().manifest(reference(server))
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"schemaVersion": 1}', b'{"a": 1, "a": 2}'])
def test_documents_that_are_none(server: ScriptedRegistry, client: Client, body: bytes) -> None:
    server.on("GET", "/manifests/", Reply(200, {"Content-Type": INDEX}, body))
    with pytest.raises(InvalidDocument, match=server.name):
        client().manifest(reference(server))


def test_a_media_type_that_contradicts_the_content(server: ScriptedRegistry, client: Client, image: Image) -> None:
    server.on("GET", "/manifests/", changed(headers={"Content-Type": media_types.MANIFEST}))
    with pytest.raises(InvalidContent):
        client().manifest(reference(server))


def test_a_cut_manifest_is_read_again(server: ScriptedRegistry, client: Client, image: Image) -> None:
    server.on("GET", "/manifests/", cut_after(20), times=2)
    assert client().manifest(reference(server)) == image.index


def test_put_checks_the_digest_in_the_reference(server: ScriptedRegistry, client: Client, image: Image) -> None:
    with pytest.raises(UsageError):
        client().put_manifest(reference(server).with_digest(OTHER), image.index.content, INDEX)
    server.on("PUT", "/manifests/", changed(headers={"Docker-Content-Digest": str(OTHER)}))
    with pytest.raises(DigestMismatch, match="stored it as"):
        client().put_manifest(reference(server), image.index.content, INDEX)


# Referrers.


def artifact(subject: Descriptor, kind: str = "application/x.signature") -> Manifest:
    config = Descriptor.of(media_types.EMPTY, b"{}")
    return Manifest(config=config, artifact_type=kind, subject=subject, annotations={"made": kind})


def attach(client: Client, server: ScriptedRegistry, document: Manifest) -> None:
    place = Reference(registry=server.name, repository="org/model", digest=document.digest)
    assert client().put_manifest(place, document.content, document.media_type) == document.digest


@pytest.mark.parametrize("api", [True, False])
def test_referrers(server: ScriptedRegistry, client: Client, image: Image, api: bool) -> None:
    server.knows_referrers = api
    ref, subject = reference(server), image.descriptor
    assert client().referrers(ref, subject.digest) == Index()
    first, second = artifact(subject), artifact(subject, "application/x.sbom")
    for document in (first, second, first):
        attach(client, server, document)
    found = client().referrers(ref, subject.digest)
    assert {m.digest for m in found.manifests} == {first.digest, second.digest}
    (only,) = client().referrers(ref, subject.digest, "application/x.sbom").manifests
    assert only.digest == second.digest
    assert only.artifact_type == "application/x.sbom"
    tag = f"sha256-{subject.digest.hex}"
    assert (("org/model", tag) in server.manifests) is not api
    if not api:
        index = Index.parse(server.manifests["org/model", tag][1])
        assert index.manifests[0].annotations == {"made": "application/x.signature"}


def test_the_type_of_a_referrer_may_be_that_of_its_config(
    server: ScriptedRegistry, client: Client, image: Image
) -> None:
    document = Manifest(config=Descriptor.of("application/x.config", b"{}"), subject=image.descriptor)
    attach(client, server, document)
    (entry,) = client().referrers(reference(server), image.descriptor.digest).manifests
    assert entry.artifact_type == "application/x.config"


def test_referrers_in_pages(server: ScriptedRegistry, client: Client, image: Image) -> None:
    digest = image.descriptor.digest
    pages = [Index(manifests=(image.manifests[i].descriptor,)).content for i in (0, 1)]
    link = f'</v2/org/model/referrers/{digest}?page=2>; rel="next"'
    server.on("GET", "/referrers/", Reply(200, {"Content-Type": INDEX, "Link": link}, pages[0]))
    server.on("GET", "/referrers/", Reply(200, {"Content-Type": INDEX}, pages[1]))
    assert len(client().referrers(reference(server), digest).manifests) == 2


def test_referrers_pages_end(server: ScriptedRegistry, client: Client, image: Image) -> None:
    digest = image.descriptor.digest
    link = f'</v2/org/model/referrers/{digest}>; rel="next"'
    server.on("GET", "/referrers/", Reply(200, {"Content-Type": INDEX, "Link": link}, Index().content), times=999)
    with pytest.raises(ProtocolViolation, match="no end"):
        client().referrers(reference(server), digest)


def test_referrers_on_all_pages_together_are_bounded(
    server: ScriptedRegistry, client: Client, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = image.descriptor.digest
    page = Index(manifests=tuple(m.descriptor for m in image.manifests)).content
    link = f'</v2/org/model/referrers/{digest}>; rel="next"'

    def serve() -> None:
        server.on("GET", "/referrers/", Reply(200, {"Content-Type": INDEX, "Link": link}, page), times=2)
        server.on("GET", "/referrers/", Reply(200, {"Content-Type": INDEX}, page))

    serve()
    assert len(client().referrers(reference(server), digest).manifests) == 3 * len(image.manifests)
    monkeypatch.setattr(referrers, "_MAX_ENTRIES", 2 * len(image.manifests))
    serve()
    with pytest.raises(ProtocolViolation, match="no end"):
        client().referrers(reference(server), digest)


@pytest.mark.parametrize(
    "answer", [Reply(200, {"Content-Type": "text/html"}, b"<html>"), Reply(405), error(404, "UNSUPPORTED")]
)
def test_front_pages_are_no_referrers(server: ScriptedRegistry, client: Client, image: Image, answer: Reply) -> None:
    server.on("GET", "/referrers/", answer)
    assert client().referrers(reference(server), image.descriptor.digest) == Index()


def test_an_error_is_not_an_empty_list(server: ScriptedRegistry, client: Client, image: Image) -> None:
    server.on("GET", "/referrers/", Reply(200, {"Content-Type": INDEX}, b'{"manifests": 3}'))
    with pytest.raises(InvalidDocument):
        client().referrers(reference(server), image.descriptor.digest)


def test_two_writers_of_the_fallback_tag(server: ScriptedRegistry, client: Client, image: Image) -> None:
    """Another client overwrites our entry right after we wrote it: it is written again."""
    mine, theirs = artifact(image.descriptor), artifact(image.descriptor, "application/x.other")
    tag = f"sha256-{image.descriptor.digest.hex}"

    def overwrite(_request: Request, default: Default) -> Reply:
        reply = default()
        index = Index(manifests=(theirs.descriptor,))
        server.manifests["org/model", tag] = (INDEX, index.content)
        return reply

    server.on("PUT", f"/manifests/{tag}", overwrite)
    attach(client, server, mine)
    listed = json.loads(server.manifests["org/model", tag][1])["manifests"]
    assert {entry["digest"] for entry in listed} == {str(mine.digest), str(theirs.digest)}
