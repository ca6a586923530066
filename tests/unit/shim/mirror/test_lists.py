"""Tags and referrers through the mirror."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelcar.oci import Descriptor, Digest, Index, Manifest
from modelcar.oci.media_types import EMPTY
from registry_shim.mirror.settings import MirrorSettings, UpstreamSettings
from registry_shim.testing import running_mirror
from tests.support.scripted_registry import Reply, ScriptedRegistry, error
from tests.support.waiting import eventually

from .conftest import HOST, REPO, Client, MakeMirror, publish, put, referrers_of

pytestmark = pytest.mark.slow

SIGNATURE = "application/vnd.dev.sigstore.bundle.v0.3+json"
EMPTY_BLOB = Descriptor.of(EMPTY, b"{}")


def sign(upstream: ScriptedRegistry, subject: Descriptor, artifact_type: str = SIGNATURE) -> Manifest:
    """A manifest that refers to `subject`; by the fallback tag if the registry has no referrers API."""
    upstream.blobs[str(EMPTY_BLOB.digest)] = b"{}"
    document = Manifest(config=EMPTY_BLOB, layers=(EMPTY_BLOB,), artifact_type=artifact_type, subject=subject.plain())
    put(upstream, document)
    if not upstream.knows_referrers:
        tag = f"sha256-{subject.digest.hex}"
        entry = Descriptor.of(document.media_type, document.content, artifact_type=artifact_type)
        _, known = upstream.manifests.get((REPO, tag), ("", Index().content))
        put(upstream, Index.parse(known).append(entry), tag)
    return document


def test_tags(mirror: MakeMirror, upstream: ScriptedRegistry) -> None:
    for tag in ("v1", "v2", "v10", "Zeta"):
        publish(upstream, tag)
    client = mirror()
    assert client.get(f"{REPO}/tags/list").json == {"name": REPO, "tags": ["v1", "v10", "v2", "Zeta"]}
    first = client.get(f"{REPO}/tags/list?n=3")
    assert first.json["tags"] == ["v1", "v10", "v2"]
    link = first.headers["link"]
    assert link.endswith('>; rel="next"')
    assert f"ns={HOST}" in link
    following = Client(client.address, None).get(link[link.index("/v2/") + 4 : link.index(">")])
    assert following.json["tags"] == ["Zeta"]
    assert "link" not in following.headers


def test_tags_of_an_upstream_that_is_gone(mirror: MakeMirror, upstream: ScriptedRegistry) -> None:
    publish(upstream)
    client = mirror(tag_seconds=0)
    client.get(f"{REPO}/tags/list")
    upstream.close()
    answer = client.get(f"{REPO}/tags/list")
    assert answer.json["tags"] == ["v1"]
    assert answer.headers["warning"].startswith("110 ")
    assert client.get("org/never-seen/tags/list").status in (503, 504)


def test_tags_of_a_repository_that_is_not(mirror: MakeMirror, upstream: ScriptedRegistry) -> None:
    upstream.on("GET", "/tags/", error(404, "NAME_UNKNOWN"))
    answer = mirror().get("org/none/tags/list")
    assert (answer.status, answer.code) == (404, "NAME_UNKNOWN")


@pytest.mark.parametrize("by_api", [True, False])
def test_referrers(mirror: MakeMirror, upstream: ScriptedRegistry, by_api: bool) -> None:
    upstream.knows_referrers = by_api
    image = publish(upstream)
    signature = sign(upstream, image.root)
    sbom = sign(upstream, image.root, "application/vnd.cyclonedx+json")
    client = mirror()
    found = referrers_of(client.get(f"{REPO}/referrers/{image.root.digest}"))
    assert {entry.digest for entry in found} == {signature.digest, sbom.digest}
    filtered = client.get(f"{REPO}/referrers/{image.root.digest}?artifactType={SIGNATURE.replace('+', '%2B')}")
    assert [entry.digest for entry in referrers_of(filtered)] == [signature.digest]
    assert filtered.headers["oci-filters-applied"] == "artifactType"
    assert referrers_of(client.get(f"{REPO}/referrers/{Digest.of(b'nothing')}")) == []


@pytest.mark.parametrize("by_api", [True, False])
def test_signatures_outlive_the_upstream(upstream: ScriptedRegistry, tmp_path: Path, by_api: bool) -> None:
    upstream.knows_referrers = by_api
    image = publish(upstream)
    signature = sign(upstream, image.root)
    tag = f"sha256-{image.root.digest.hex}.sig"
    put(upstream, signature, tag)
    settings = MirrorSettings(
        upstreams=(UpstreamSettings(registry=HOST, urls=(upstream.url,), timeout=5.0),), tag_seconds=0
    )
    paths = (
        f"{REPO}/manifests/v1",
        f"{REPO}/referrers/{image.root.digest}",
        f"{REPO}/manifests/{signature.digest}",
        f"{REPO}/manifests/{tag}",
        f"{REPO}/blobs/{EMPTY_BLOB.digest}",
    )
    with running_mirror(settings, tmp_path / "root") as address:
        before = [Client(address).get(path) for path in paths]
    upstream.close()
    with running_mirror(settings, tmp_path / "root") as address:
        after = [Client(address).get(path) for path in paths]
    assert [answer.status for answer in before] == [200] * len(paths)
    assert [answer.body for answer in after] == [answer.body for answer in before]


@pytest.mark.parametrize("damage", ["[{}]", "[1, null]", "{}", "", "\0\0", "[" * 100_000], ids=range(6))
def test_a_list_that_was_damaged_on_disk_hides_none_that_is_known(
    upstream: ScriptedRegistry, tmp_path: Path, damage: str
) -> None:
    image = publish(upstream)
    signature = sign(upstream, image.root)
    settings = MirrorSettings(
        upstreams=(UpstreamSettings(registry=HOST, urls=(upstream.url,), timeout=5.0),), tag_seconds=0
    )
    with running_mirror(settings, tmp_path / "root") as address:
        Client(address).get(f"{REPO}/referrers/{image.root.digest}")
        Client(address).get(f"{REPO}/manifests/{signature.digest}")
    upstream.close()
    (kept,) = (tmp_path / "root").rglob(f"_lists/sha256-{image.root.digest.hex}.json")
    kept.write_text(damage)
    with running_mirror(settings, tmp_path / "root") as address:
        found = referrers_of(Client(address).get(f"{REPO}/referrers/{image.root.digest}"))
    assert [entry.digest for entry in found] == [signature.digest]


def test_mirrors_that_know_of_no_signatures_hide_none(
    mirror: MakeMirror, upstream: ScriptedRegistry, other: ScriptedRegistry
) -> None:
    image = publish(upstream)
    signature = sign(upstream, image.root)
    client = mirror({"urls": (other.url, upstream.url), "repositories": ("**",)})
    found = referrers_of(client.get(f"{REPO}/referrers/{image.root.digest}"))
    assert [entry.digest for entry in found] == [signature.digest]
    assert client.blob(EMPTY_BLOB.digest).body == b"{}"


def test_that_there_is_no_signature_is_known_without_the_upstream(upstream: ScriptedRegistry, tmp_path: Path) -> None:
    """Who verifies asks for several kinds, most of which are not there."""
    image = publish(upstream)
    tag = f"sha256-{image.root.digest.hex}.att"
    settings = MirrorSettings(
        upstreams=(UpstreamSettings(registry=HOST, urls=(upstream.url,), timeout=5.0),), missing_seconds=0
    )
    with running_mirror(settings, tmp_path / "root") as address:
        client = Client(address)
        assert [client.manifest(name).status for name in ("v1", tag, "v2")] == [200, 404, 404]
    upstream.close()
    with running_mirror(settings, tmp_path / "root") as address:
        assert Client(address).manifest(tag).code == "MANIFEST_UNKNOWN"
        assert Client(address).manifest("v2").status in (503, 504)


@pytest.mark.parametrize("by_api", [True, False])
def test_signatures_come_along_with_their_image(upstream: ScriptedRegistry, tmp_path: Path, by_api: bool) -> None:
    """Nobody has asked for them while the upstream was there."""
    upstream.knows_referrers = by_api
    image = publish(upstream)
    signature = sign(upstream, image.root)
    tag = f"sha256-{image.root.digest.hex}"
    put(upstream, Manifest(config=EMPTY_BLOB, annotations={"legacy": "yes"}), f"{tag}.sig")
    settings = MirrorSettings(upstreams=(UpstreamSettings(registry=HOST, urls=(upstream.url,), timeout=5.0),))
    with running_mirror(settings, tmp_path / "root") as address:
        assert Client(address).manifest("v1").status == 200
        eventually(lambda: upstream.requests("GET", f"{tag}.att"), "the last of them is asked for")
    upstream.close()
    with running_mirror(settings, tmp_path / "root") as address:
        client = Client(address)
        assert client.manifest(f"{tag}.sig").status == 200
        assert client.manifest(f"{tag}.att").status == 404
        found = referrers_of(client.get(f"{REPO}/referrers/{image.root.digest}"))
        assert [entry.digest for entry in found] == [signature.digest]
        assert client.manifest(signature.digest).body == signature.content
        assert client.blob(EMPTY_BLOB.digest).body == b"{}"


def test_a_signature_that_came_by_another_way_is_listed(mirror: MakeMirror, upstream: ScriptedRegistry) -> None:
    """Nobody asked for the list while the upstream was there."""
    image = publish(upstream)
    signature = sign(upstream, image.root)
    client = mirror()
    client.manifest("v1")
    client.manifest(signature.digest)
    upstream.close()
    found = referrers_of(client.get(f"{REPO}/referrers/{image.root.digest}"))
    assert [entry.digest for entry in found] == [signature.digest]
    assert found[0].artifact_type == SIGNATURE


def test_that_nothing_refers_to_an_image_is_not_said_by_mistake(mirror: MakeMirror, upstream: ScriptedRegistry) -> None:
    """There may be an attestation against it: nobody has asked while the upstream was there."""
    image = publish(upstream)
    client = mirror({"repositories": ("**",)}, attachments=False)
    assert client.manifest("v1").status == 200
    upstream.close()
    assert client.get(f"{REPO}/referrers/{image.root.digest}").status in (502, 503, 504)


def test_made_up_digests_leave_nothing_on_disk(mirror: MakeMirror, upstream: ScriptedRegistry, tmp_path: Path) -> None:
    client = mirror()
    publish(upstream)
    client.manifest("v1")
    before = {path for path in (tmp_path / "root" / "upstreams").rglob("*") if path.is_file()}
    for i in range(5):
        digest = Digest.of(f"{i}".encode())
        assert referrers_of(client.get(f"{REPO}/referrers/{digest}")) == []
        assert client.manifest(digest).status == 404
        assert client.blob(digest).status == 404
        assert client.manifest(f"sha256-{digest.hex}.sig").status == 404
    assert {path for path in (tmp_path / "root" / "upstreams").rglob("*") if path.is_file()} == before


def test_a_list_that_cannot_be(mirror: MakeMirror, upstream: ScriptedRegistry) -> None:
    client = mirror()
    upstream.on("GET", "/tags/", Reply(200, body=b'{"tags":["../x"]}'), times=3)
    assert client.get(f"{REPO}/tags/list").status == 502
    upstream.on("GET", "/referrers/", Reply(200, {"Content-Type": "application/json"}, b"[]"), times=3)
    assert client.get(f"{REPO}/referrers/{Digest.of(b'')}").status == 502
    assert client.get(f"{REPO}/referrers/v1").status == 400
