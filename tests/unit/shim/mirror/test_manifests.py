"""Manifests through the mirror: at once, verified, revalidated, and still there when the upstream is not."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelcar.oci import Digest, Index
from modelcar.oci.media_types import INDEX, MANIFEST
from registry_shim.mirror.settings import MirrorSettings, UpstreamSettings
from registry_shim.testing import running_mirror
from tests.support.scripted_registry import DROP, Default, Reply, Request, ScriptedRegistry, changed, error

from .conftest import HOST, REPO, Client, MakeMirror, publish, put

pytestmark = pytest.mark.slow

ACCEPT = "application/vnd.oci.image.index.v1+json"


def asked(upstream: ScriptedRegistry, method: str = "") -> int:
    return len([r for r in upstream.seen if "/manifests/" in r.path and (not method or r.method == method)])


def test_bytes_and_type_are_those_of_the_upstream(mirror: MakeMirror, upstream: ScriptedRegistry) -> None:
    content = json.dumps(Index().to_dict(), indent=3).encode()  # not as we would write it
    upstream.manifests[REPO, "v1"] = (INDEX, content)
    answer = mirror().manifest("v1")
    assert (answer.status, answer.body) == (200, content)
    assert answer.headers["content-type"] == INDEX
    assert answer.headers["docker-content-digest"] == str(Digest.of(content))
    assert answer.headers["oci-namespace"] == HOST
    assert "warning" not in answer.headers
    assert "content-encoding" not in answer.headers


def test_head_has_the_size_and_no_body(mirror: MakeMirror, upstream: ScriptedRegistry) -> None:
    image = publish(upstream)
    answer = mirror().get(f"{REPO}/manifests/v1", method="HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-length"] == str(image.root.size)


def test_a_digest_is_asked_for_once(mirror: MakeMirror, upstream: ScriptedRegistry) -> None:
    image = publish(upstream)
    client = mirror()
    for _ in range(3):
        assert client.manifest(image.root.digest).body == image.documents.index.content
    assert asked(upstream) == 1


def test_what_a_client_has_is_not_sent_again(mirror: MakeMirror, upstream: ScriptedRegistry) -> None:
    client = mirror()
    publish(upstream)
    etag = client.manifest("v1").headers["etag"]
    assert client.manifest("v1", If_None_Match=etag).status == 304


def test_a_tag_is_believed_for_a_while(mirror: MakeMirror, upstream: ScriptedRegistry) -> None:
    publish(upstream)
    client = mirror(tag_seconds=100)
    for _ in range(3):
        assert client.manifest("v1").status == 200
    assert asked(upstream) == 1


def test_then_a_head_is_enough_while_it_stays(mirror: MakeMirror, upstream: ScriptedRegistry) -> None:
    image = publish(upstream)
    client = mirror(tag_seconds=0)
    for _ in range(3):
        assert client.manifest("v1").headers["docker-content-digest"] == str(image.root.digest)
    assert (asked(upstream, "GET"), asked(upstream, "HEAD")) == (1, 2)


def test_a_tag_that_moved_is_followed(mirror: MakeMirror, upstream: ScriptedRegistry) -> None:
    publish(upstream)
    client = mirror(tag_seconds=0)
    client.manifest("v1")
    moved = publish(upstream, seed=2)
    assert client.manifest("v1").headers["docker-content-digest"] == str(moved.root.digest)


def test_a_tag_that_is_gone_is_gone(mirror: MakeMirror, upstream: ScriptedRegistry) -> None:
    image = publish(upstream)
    client = mirror(tag_seconds=0, missing_seconds=0)
    client.manifest("v1")
    del upstream.manifests[REPO, "v1"]
    assert client.manifest("v1").code == "MANIFEST_UNKNOWN"
    upstream.close()
    assert client.manifest("v1").status == 504  # it is not brought back by an outage
    assert client.manifest(image.root.digest).status == 200


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, DROP])
def test_an_upstream_that_fails_is_stood_in_for(mirror: MakeMirror, upstream: ScriptedRegistry, status: int) -> None:
    image = publish(upstream)
    client = mirror(tag_seconds=0)
    client.manifest("v1")
    upstream.on("HEAD", "/manifests/", Reply(status), times=100)
    answer = client.manifest("v1")
    assert (answer.status, answer.body) == (200, image.documents.index.content)
    assert answer.headers["warning"].startswith("110 ")


def test_unless_that_is_not_wanted(mirror: MakeMirror, upstream: ScriptedRegistry) -> None:
    publish(upstream)
    client = mirror(tag_seconds=0, stale=False)
    client.manifest("v1")
    upstream.on("HEAD", "/manifests/", Reply(500), times=100)
    assert client.manifest("v1").status == 502


def test_after_a_restart_without_the_upstream(upstream: ScriptedRegistry, tmp_path: Path) -> None:
    image = publish(upstream)
    settings = MirrorSettings(upstreams=(UpstreamSettings(registry=HOST, urls=(upstream.url,), timeout=5.0),))
    with running_mirror(settings, tmp_path / "root") as address:
        Client(address).manifest("v1")
    upstream.close()
    with running_mirror(settings, tmp_path / "root") as address:
        for _ in range(3):
            answer = Client(address).manifest("v1")
            assert (answer.status, answer.body) == (200, image.documents.index.content)
        assert Client(address).manifest(image.root.digest).status == 200


@pytest.mark.parametrize(
    ("status", "code", "told"),
    [(404, "MANIFEST_UNKNOWN", 404), (403, "DENIED", 403), (429, "TOOMANYREQUESTS", 429), (500, "UNAVAILABLE", 502)],
)
def test_what_the_upstream_refuses(
    mirror: MakeMirror, upstream: ScriptedRegistry, status: int, code: str, told: int
) -> None:
    upstream.on("GET", "/manifests/", error(status, "NOPE", "no such luck"), times=9)
    answer = mirror().manifest("v1")
    assert (answer.status, answer.code) == (told, code)
    assert "no such luck" in answer.json["errors"][0]["message"]


def test_an_upstream_that_is_not_there(mirror: MakeMirror, upstream: ScriptedRegistry) -> None:
    upstream.close()
    client = mirror()
    first = client.manifest("v1")
    assert (first.status, first.code) == (504, "UNAVAILABLE")
    client.manifest("v2")
    after = client.manifest("v3")
    assert after.status == 503
    assert int(after.headers["retry-after"]) >= 1


def test_how_long_to_wait_is_passed_on(mirror: MakeMirror, upstream: ScriptedRegistry) -> None:
    upstream.on("GET", "/manifests/", Reply(429, {"Retry-After": "121"}), times=2)
    answer = mirror().manifest("v1")
    assert (answer.status, answer.headers["retry-after"]) == (429, "121")


def test_what_is_missing_is_asked_for_now_and_then(mirror: MakeMirror, upstream: ScriptedRegistry) -> None:
    client = mirror(missing_seconds=100)
    for _ in range(5):
        assert client.manifest("v1").status == 404
    assert asked(upstream) == 1
    again = client.manifest("v2")
    assert again.status == 404
    assert asked(upstream) == 2


def test_what_was_missing_appears(mirror: MakeMirror, upstream: ScriptedRegistry) -> None:
    client = mirror(missing_seconds=0)
    assert client.manifest("v1").status == 404
    publish(upstream)
    assert client.manifest("v1").status == 200


def test_many_clients_are_one_question(mirror: MakeMirror, upstream: ScriptedRegistry) -> None:
    publish(upstream)
    about, release = threading.Barrier(20), threading.Event()
    client = mirror()

    def ask() -> int:
        about.wait(10)
        return client.manifest("v1").status

    def slow(_: Request, default: Default) -> Reply:
        release.wait(10)
        return default()

    upstream.on("GET", "/manifests/v1", slow, times=20)
    with ThreadPoolExecutor(20) as threads:
        answers = [threads.submit(ask) for _ in range(19)]
        about.wait(10)
        time.sleep(0.3)  # so that they have asked; fewer make the test weaker, not wrong
        release.set()
        assert {answer.result() for answer in answers} == {200}
    assert asked(upstream) == 1


def test_the_bytes_must_be_those_of_the_digest(mirror: MakeMirror, upstream: ScriptedRegistry) -> None:
    image = publish(upstream)
    client = mirror()
    for reference in (image.root.digest, "v1"):
        upstream.on("GET", "/manifests/", changed(body=b'{"schemaVersion":2,"manifests":[]}'), times=2)
        assert client.manifest(reference).status == 502
        assert client.manifest(reference).status == 502
    assert client.manifest("v1").status == 200


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, {"Content-Type": MANIFEST}, b'{"schemaVersion":2,"mediaType":"' + INDEX.encode() + b'"}'),
        Reply(200, {"Content-Type": MANIFEST}, b'{"schemaVersion":2,"manifests":[],"layers":[]}'),
        Reply(200, {"Content-Type": MANIFEST}, b"<html>"),
        Reply(200, {"Content-Type": MANIFEST}, b" " * ((4 << 20) + 1)),
        Reply(200, {"Content-Type": MANIFEST, "Content-Encoding": "gzip"}, b"\x1f\x8b"),
        Reply(200, {"Content-Type": "application/x", "Content-Encoding": "gzip"}, b"\x1f\x8b"),
        Reply(200, {"Content-Type": MANIFEST, "Docker-Content-Digest": "../../etc"}, b"{}"),
    ],
)
def test_what_cannot_be_is_not_passed_on(mirror: MakeMirror, upstream: ScriptedRegistry, reply: Reply) -> None:
    upstream.on("GET", "/manifests/", reply, times=9)
    assert mirror().manifest("v1").status == 502


def test_what_is_of_another_kind_is(mirror: MakeMirror, upstream: ScriptedRegistry) -> None:
    upstream.manifests[REPO, "v1"] = ("application/vnd.example.thing.v1+json", b'{"a":1}')
    answer = mirror().manifest("v1")
    assert (answer.status, answer.body) == (200, b'{"a":1}')
    assert answer.headers["content-type"] == "application/vnd.example.thing.v1+json"


@pytest.mark.parametrize("reference", ["-v1", "..", "%2e%2e", "a" * 129, "sha256:abc", f"md5:{'a' * 32}"])
def test_what_names_no_manifest(mirror: MakeMirror, upstream: ScriptedRegistry, reference: str) -> None:
    answer = mirror().manifest(reference)
    assert answer.status in (400, 404)
    assert upstream.seen == []


def test_sha512(mirror: MakeMirror, upstream: ScriptedRegistry) -> None:
    index = Index()
    digest = Digest.of(index.content, "sha512")
    upstream.manifests[REPO, str(digest)] = (INDEX, index.content)
    upstream.on("GET", "/manifests/", changed(headers={"Docker-Content-Digest": str(digest)}))
    answer = mirror().manifest(digest)
    assert (answer.body, answer.headers["docker-content-digest"]) == (index.content, str(digest))


def test_two_upstreams_do_not_mix(mirror: MakeMirror, upstream: ScriptedRegistry, other: ScriptedRegistry) -> None:
    first, second = publish(upstream), publish(other, seed=2)
    client = mirror(others=(UpstreamSettings(registry="second.example", urls=(other.url,)),))
    elsewhere = Client(client.address, "second.example")
    assert client.manifest("v1").headers["docker-content-digest"] == str(first.root.digest)
    assert elsewhere.manifest("v1").headers["docker-content-digest"] == str(second.root.digest)
    assert elsewhere.manifest(first.root.digest).status == 404


def test_ways_to_name_the_registry(mirror: MakeMirror, upstream: ScriptedRegistry) -> None:
    image = publish(upstream)
    client = mirror()
    plain = Client(client.address, None)
    assert plain.get(f"{HOST}/{REPO}/manifests/v1").body == image.documents.index.content
    by_host = plain.get(f"{REPO}/manifests/v1", Host=f"{HOST}.shim.local:5001")
    assert by_host.body == image.documents.index.content
    assert "oci-namespace" not in by_host.headers
    assert plain.get(f"{REPO}/manifests/v1").code == "NAME_UNKNOWN"
    refused = Client(client.address, "evil.example").get(f"{REPO}/manifests/v1")
    assert (refused.status, refused.code) == (403, "DENIED")


@pytest.mark.parametrize("name", ["_tags/v1", "_manifests/sha256/*", "blobs/sha256/*"])
@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"[]", b"\xff\xfe\x00", b'{"descriptor":{}}'])
def test_what_the_disk_has_damaged_is_asked_for_again(
    upstream: ScriptedRegistry, tmp_path: Path, name: str, content: bytes
) -> None:
    image = publish(upstream)
    settings = MirrorSettings(upstreams=(UpstreamSettings(registry=HOST, urls=(upstream.url,)),), attachments=False)
    for _ in range(2):
        with running_mirror(settings, tmp_path / "root") as address:
            answers = [Client(address).manifest(target) for target in ("v1", image.documents.index.digest)]
        assert [(a.status, a.body) for a in answers] == [(200, image.documents.index.content)] * 2
        (file,) = (tmp_path / "root").rglob(name)
        file.chmod(0o600)
        file.write_bytes(content)


def test_mirrors_of_a_registry_come_first(
    mirror: MakeMirror, upstream: ScriptedRegistry, other: ScriptedRegistry
) -> None:
    publish(upstream)
    nearer = publish(other)
    client = mirror({"urls": (other.url, upstream.url), "repositories": ("**",)}, tag_seconds=0)
    assert client.manifest("v1").status == 200
    assert upstream.seen == []
    assert other.seen[0].query["ns"] == HOST
    for failure in (Reply(500), Reply(404), Reply(401), changed(body=b"{}")):
        other.on("GET", "/manifests/", failure, times=2)
        other.on("HEAD", "/manifests/", failure if isinstance(failure, Reply) else Reply(500), times=2)
        answer = client.manifest("v1")
        assert (answer.status, answer.body) == (200, nearer.documents.index.content)
        assert "warning" not in answer.headers
    other.close()
    put(upstream, Index(annotations={"a": "b"}), "v2")
    assert client.manifest("v2").status == 200
    assert "ns" not in upstream.seen[-1].query
