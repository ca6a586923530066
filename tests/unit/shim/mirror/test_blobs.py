"""Blobs through the mirror: ranges, sharing, what is wrong with them, and from which repository they may leave."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelcar.oci import Descriptor, Digest, Manifest
from modelcar.oci.media_types import LAYER_TAR
from registry_shim.mirror.settings import MirrorSettings, UpstreamSettings
from registry_shim.testing import running_mirror
from tests.support.scripted_registry import Reply, Request, ScriptedRegistry, changed, error

from .conftest import HOST, REPO, Client, MakeMirror, publish, put

pytestmark = pytest.mark.slow

CONTENT = random.Random(3).randbytes((9 << 20) + 17)
DIGEST = Digest.of(CONTENT)


@pytest.fixture
def stocked(upstream: ScriptedRegistry) -> ScriptedRegistry:
    upstream.blobs[str(DIGEST)] = CONTENT
    return upstream


def fetched(upstream: ScriptedRegistry) -> int:
    """Bytes of the blob that the upstream was asked for."""
    total = 0
    for request in upstream.requests("GET", "/blobs/"):
        first, _, last = (
            request.headers.get("Range", f"bytes=0-{len(CONTENT) - 1}").removeprefix("bytes=").partition("-")
        )
        total += int(last or len(CONTENT) - 1) - int(first) + 1
    return total


def test_a_blob(mirror: MakeMirror, stocked: ScriptedRegistry) -> None:
    client = mirror()
    for _ in range(2):
        answer = client.blob(DIGEST)
        assert (answer.status, answer.body) == (200, CONTENT)
        assert answer.headers["docker-content-digest"] == str(DIGEST)
        assert answer.headers["content-length"] == str(len(CONTENT))
        assert "content-encoding" not in answer.headers
    assert fetched(stocked) == len(CONTENT)


def test_head_fetches_nothing(mirror: MakeMirror, stocked: ScriptedRegistry) -> None:
    answer = mirror().get(f"{REPO}/blobs/{DIGEST}", method="HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-length"] == str(len(CONTENT))
    assert answer.headers["accept-ranges"] == "bytes"
    assert fetched(stocked) == 0


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=5000000-", 5_000_000, len(CONTENT) - 1),
        ("bytes=-17", len(CONTENT) - 17, len(CONTENT) - 1),
        ("bytes=4194300-4194310", 4194300, 4194310),
        ("bytes=100-999999999", 100, len(CONTENT) - 1),
    ],
)
def test_ranges(mirror: MakeMirror, stocked: ScriptedRegistry, asked: str, first: int, last: int) -> None:
    answer = mirror().blob(DIGEST, Range=asked)
    assert answer.status == 206
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(CONTENT)}"
    assert answer.body == CONTENT[first : last + 1]


def test_a_range_past_the_end(mirror: MakeMirror, stocked: ScriptedRegistry) -> None:
    answer = mirror().blob(DIGEST, Range=f"bytes={len(CONTENT)}-")
    assert (answer.status, answer.headers["content-range"]) == (416, f"bytes */{len(CONTENT)}")


def test_a_range_of_something_else(mirror: MakeMirror, stocked: ScriptedRegistry) -> None:
    client = mirror()
    assert client.blob(DIGEST, Range="bytes=1-2", If_Range='"x"').status == 200
    assert client.blob(DIGEST, Range="bytes=1-2", If_Range=f'"{DIGEST}"').status == 206
    assert client.blob(DIGEST, If_None_Match=f'"{DIGEST}"').status == 304


def test_many_clients_one_copy(mirror: MakeMirror, stocked: ScriptedRegistry) -> None:
    client = mirror()
    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(lambda _: client.blob(DIGEST), range(12)))
    assert all(answer.body == CONTENT for answer in answers)
    assert fetched(stocked) <= 1.05 * len(CONTENT)


def test_it_is_here_after_a_restart_without_the_upstream(stocked: ScriptedRegistry, tmp_path: Path) -> None:
    settings = MirrorSettings(upstreams=(UpstreamSettings(registry=HOST, urls=(stocked.url,), timeout=5.0),))
    with running_mirror(settings, tmp_path / "root") as address:
        assert Client(address).blob(DIGEST).body == CONTENT
    stocked.close()
    with running_mirror(settings, tmp_path / "root") as address:
        assert Client(address).blob(DIGEST).body == CONTENT
        assert Client(address).blob(DIGEST, Range="bytes=1-2").body == CONTENT[1:3]


def test_a_size_is_what_the_upstream_said_not_what_the_disk_says(stocked: ScriptedRegistry, tmp_path: Path) -> None:
    settings = MirrorSettings(upstreams=(UpstreamSettings(registry=HOST, urls=(stocked.url,), timeout=5.0),))
    root = tmp_path / "root"
    with running_mirror(settings, root) as address:
        assert Client(address).blob(DIGEST).body == CONTENT
    with (root / "blobs" / "sha256" / DIGEST.hex).open("r+b") as file:
        file.truncate(1000)
    with running_mirror(settings, root) as address:
        answer = Client(address).get(f"{REPO}/blobs/{DIGEST}", method="HEAD")
        assert answer.headers["content-length"] == str(len(CONTENT))


def test_what_is_not_there(mirror: MakeMirror, stocked: ScriptedRegistry) -> None:
    client = mirror()
    absent = Digest.of(b"absent")
    for _ in range(3):
        answer = client.blob(absent)
        assert (answer.status, answer.code) == (404, "BLOB_UNKNOWN")
    assert len(stocked.requests("HEAD", "/blobs/")) == 1
    assert client.blob("sha256:zz").code == "DIGEST_INVALID"


def test_an_empty_blob(mirror: MakeMirror, upstream: ScriptedRegistry) -> None:
    empty = Digest.of(b"")
    upstream.blobs[str(empty)] = b""
    answer = mirror().blob(empty)
    assert (answer.status, answer.body) == (200, b"")


def test_a_blob_that_is_said_to_be_empty(mirror: MakeMirror, stocked: ScriptedRegistry) -> None:
    stocked.blobs[str(DIGEST)] = b""
    answer = mirror().blob(DIGEST)
    assert answer.status >= 400
    assert answer.body != b""


def test_other_bytes_than_those_of_the_digest(mirror: MakeMirror, stocked: ScriptedRegistry) -> None:
    stocked.blobs[str(DIGEST)] = CONTENT[:-1] + b"?"
    client = mirror()
    try:
        answer = client.blob(DIGEST)
    except Exception as e:  # cut off, because the last bytes never come
        assert "IncompleteRead" in type(e).__name__ or isinstance(e, OSError)  # noqa: PT017  # either is right
    else:
        assert answer.status == 502


def test_a_manifest_that_lies_about_a_size(mirror: MakeMirror, stocked: ScriptedRegistry) -> None:
    config = Descriptor.of("application/vnd.oci.image.config.v1+json", b"{}")
    stocked.blobs[str(config.digest)] = b"{}"
    lie = Descriptor(media_type=LAYER_TAR, digest=DIGEST, size=len(CONTENT) + 1)
    put(stocked, Manifest(config=config, layers=(lie,)), "v1")
    client = mirror()
    assert client.manifest("v1").status == 200
    answer = client.blob(DIGEST)
    assert answer.status == 502
    assert "promises" in answer.json["errors"][0]["message"]
    assert client.blob(DIGEST, "org/honest").body == CONTENT


def test_refusals_come_before_the_first_byte(mirror: MakeMirror, stocked: ScriptedRegistry) -> None:
    client = mirror()
    stocked.on("GET", "/blobs/", error(404, "BLOB_UNKNOWN"), times=50)
    assert client.blob(DIGEST).status in (404, 502, 504)


def only_in(repository: str, upstream: ScriptedRegistry) -> None:
    """From now on other repositories of `upstream` have no blobs."""

    def guard(request: Request) -> Reply | None:
        elsewhere = "/blobs/" in request.path and f"/v2/{repository}/" not in request.path
        return error(404, "BLOB_UNKNOWN") if elsewhere else None

    upstream.guard = guard


def test_a_blob_leaves_only_from_repositories_that_have_it(mirror: MakeMirror, upstream: ScriptedRegistry) -> None:
    image = publish(upstream)
    only_in(REPO, upstream)
    client = mirror()
    assert client.manifest("v1").status == 200
    layer = image.documents.manifests[0].layers[2]
    assert client.blob(layer.digest).status == 200
    for repository in ("org/other", "a"):
        assert client.blob(layer.digest, repository).code == "BLOB_UNKNOWN"


def test_a_manifest_that_lists_it_is_no_proof(mirror: MakeMirror, upstream: ScriptedRegistry) -> None:
    """Anybody may write a manifest with the digests of somebody's private layers, where a registry lets them."""
    image = publish(upstream)
    only_in(REPO, upstream)
    client = mirror()
    layer = image.documents.manifests[0].layers[2]
    assert client.blob(layer.digest).status == 200
    put(upstream, image.documents.manifests[0], "stolen", repo="thief/model")
    assert client.manifest("stolen", "thief/model").status == 200
    for method in ("GET", "HEAD"):
        assert client.get(f"thief/model/blobs/{layer.digest}", method=method).status == 404


def test_nor_is_it_when_the_upstream_cannot_be_asked(mirror: MakeMirror, upstream: ScriptedRegistry) -> None:
    image = publish(upstream)
    client = mirror()
    layer = image.documents.manifests[0].layers[2]
    assert client.blob(layer.digest).status == 200
    put(upstream, image.documents.manifests[0], "stolen", repo="thief/model")
    assert client.manifest("stolen", "thief/model").status == 200
    upstream.close()
    assert client.blob(layer.digest).status == 200
    assert client.blob(layer.digest, "thief/model").status in (503, 504)


def test_a_layer_is_fetched_once_for_all_repositories(mirror: MakeMirror, stocked: ScriptedRegistry) -> None:
    client = mirror()
    for repository in ("a/one", "a/two", "a/three"):
        assert client.blob(DIGEST, repository).body == CONTENT
    assert fetched(stocked) == len(CONTENT)


def test_encodings_are_not_undone(mirror: MakeMirror, stocked: ScriptedRegistry) -> None:
    stocked.on("GET", "/blobs/", changed(headers={"Content-Encoding": "gzip"}), times=50)
    client = mirror()
    assert client.blob(DIGEST).body == CONTENT  # the bytes themselves are right, whatever the header says
