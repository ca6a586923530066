from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from modelcar.oci import Digest
from modelcar.oci.media_types import DOCKER_MANIFEST, INDEX, MANIFEST
from modelcar.serving.messages import BytesBody, Request
from registry_shim.distribution import Distribution
from tests.unit.shim.api import Api

LAYER = b"weights"
V1 = "/v2/org/model/manifests/v1"


def put(api: Api, content: bytes | dict[str, Any], media_type: str = MANIFEST, reference: str = "v1") -> Any:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return api.call("PUT", f"/v2/org/model/manifests/{reference}", body, {"Content-Type": media_type})


def test_a_tag_and_a_digest_return_the_bytes_that_were_pushed(api: Api) -> None:
    content = json.dumps(api.image(LAYER), indent=3).encode()
    digest = Digest.of(content)
    answer = put(api, content)
    assert answer.status == 201
    assert answer.headers["Location"] == V1
    assert answer.headers["Docker-Content-Digest"] == str(digest)
    for reference in ("v1", str(digest)):
        answer = api.get(f"/v2/org/model/manifests/{reference}")
        assert (answer.status, answer.body) == (200, content)
        assert answer.headers["Content-Type"] == MANIFEST
        assert answer.headers["Docker-Content-Digest"] == str(digest)
        head = api.call("HEAD", f"/v2/org/model/manifests/{reference}")
        assert (head.status, head.headers) == (200, answer.headers)


def test_a_client_that_has_it_gets_nothing(api: Api) -> None:
    digest = api.push_manifest(api.image(LAYER), "v1")
    assert api.get(V1, If_None_Match=f'"{digest}"').status == 304


def test_sha512(api: Api) -> None:
    content = json.dumps(api.image(LAYER)).encode()
    digest = Digest.of(content, "sha512")
    assert put(api, content, reference=str(digest)).status == 201
    assert put(api, content, reference=f"v1?digest={digest}").headers["Docker-Content-Digest"] == str(digest)
    assert api.get(V1).headers["Docker-Content-Digest"] == str(digest)


def test_a_push_by_digest_may_bring_tags(api: Api) -> None:
    content = json.dumps(api.image(LAYER)).encode()
    answer = put(api, content, reference=f"{Digest.of(content)}?tag=v1&tag=latest")
    assert (answer.status, answer.headers["OCI-Tag"]) == (201, "v1, latest")
    assert api.get("/v2/org/model/tags/list").json["tags"] == ["latest", "v1"]


def test_missing_blobs_are_named_and_nothing_becomes_visible(api: Api) -> None:
    answer = put(api, api.image(LAYER, b"more", push=False))
    assert (answer.status, answer.codes) == (404, ["MANIFEST_BLOB_UNKNOWN"])
    assert "sha256:" in answer.json["errors"][0]["message"]
    assert "and 2 more" in answer.json["errors"][0]["message"]
    assert api.get(V1).codes == ["NAME_UNKNOWN"]


def test_blobs_of_another_repository_do_not_count(api: Api) -> None:
    api.push_blob(LAYER, repo="other")
    manifest = api.image()
    manifest["layers"] = api.image(LAYER, push=False)["layers"]
    assert put(api, manifest).codes == ["MANIFEST_BLOB_UNKNOWN"]


def test_an_index_needs_its_manifests(api: Api) -> None:
    child = api.push_manifest(api.image(LAYER))
    assert put(api, api.index(child, Digest.of(b"elsewhere")), INDEX).codes == ["MANIFEST_BLOB_UNKNOWN"]
    assert put(api, api.index(child), INDEX).status == 201


def test_a_build_cache_lists_blobs_in_an_index(api: Api) -> None:
    assert put(api, api.index(api.push_blob(b"cache")), INDEX).status == 201


def test_layers_that_may_not_be_distributed_are_elsewhere(api: Api) -> None:
    manifest = api.image()
    manifest["layers"] = [
        {
            "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar",
            "digest": str(Digest.of(b"windows")),
            "size": 7,
        }
    ]
    assert put(api, manifest).status == 201


def test_a_subject_may_come_later(api: Api) -> None:
    subject = Digest.of(b"not yet")
    answer = put(api, api.image(subject={"mediaType": MANIFEST, "digest": str(subject), "size": 7}))
    assert (answer.status, answer.headers["OCI-Subject"]) == (201, str(subject))


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b"", MANIFEST),
        (b"no json", MANIFEST),
        (b"[]", MANIFEST),
        (b'{"schemaVersion":1}', MANIFEST),
        (b'{"schemaVersion":2,"layers":[]}', MANIFEST),
        (b'{"schemaVersion":2,"config":{},"manifests":[]}', INDEX),
        (b"{}", "no media type"),
        (b"{}", "text/plain"),
        (b"{}", "application/to\N{KELVIN SIGN}en"),
        (b'{"schemaVersion":2,"manifests":[{"mediaType":"a/b","digest":"sha256:0","size":1}]}', INDEX),
    ],
)
def test_what_is_no_manifest(api: Api, content: bytes, media_type: str) -> None:
    answer = put(api, content, media_type)
    assert (answer.status, answer.codes) == (400, ["MANIFEST_INVALID"])


@pytest.mark.parametrize("own", ["no media type", "a/b\r\nX-Injected: 1"])
def test_what_a_manifest_calls_itself_must_be_fit_for_a_header(api: Api, own: str) -> None:
    for media_type in ("", "application/json"):
        answer = put(api, api.image(LAYER) | {"mediaType": own}, media_type)
        assert (answer.status, answer.codes) == (400, ["MANIFEST_INVALID"])


def test_header_and_body_must_agree_on_what_it_is(api: Api) -> None:
    manifest = api.image(LAYER)
    assert put(api, manifest, DOCKER_MANIFEST).codes == ["MANIFEST_INVALID"]
    assert put(api, manifest, INDEX).codes == ["MANIFEST_INVALID"]


def test_nothing_is_renamed_by_pushing_it_again(api: Api) -> None:
    manifest = api.image(LAYER)
    api.push_manifest(manifest, "v1")
    assert put(api, manifest, "application/vnd.example+json", "v2").codes == ["MANIFEST_INVALID"]
    assert api.get(V1).headers["Content-Type"] == MANIFEST


@pytest.mark.slow
def test_a_large_manifest_does_not_stop_the_others(api: Api) -> None:
    content = b'{"manifests":[' + b"{}," * (1 << 20) + b"{}]}"

    async def push() -> int:
        beats = 0
        request = Request(method="PUT", path=V1, body=BytesBody(content), headers={"content-type": INDEX})
        pushing = asyncio.create_task(Distribution(api.context).handle(request))
        while not pushing.done():
            beats += 1
            await asyncio.sleep(0.001)
        assert pushing.result().status == 400
        return beats

    assert asyncio.run(push()) > 10


@pytest.mark.parametrize("media_type", ["", "application/json", f"{MANIFEST}; charset=utf-8"])
def test_a_vague_content_type_leaves_it_to_the_body(api: Api, media_type: str) -> None:
    assert put(api, api.image(LAYER), media_type).status == 201
    assert api.get(V1).headers["Content-Type"] == MANIFEST


def test_a_manifest_of_a_kind_that_we_do_not_know_is_kept_as_it_is(api: Api) -> None:
    assert put(api, b"\x00anything", "application/vnd.example.manifest.v7+cbor").status == 201
    answer = api.get(V1)
    assert (answer.body, answer.headers["Content-Type"]) == (
        b"\x00anything",
        "application/vnd.example.manifest.v7+cbor",
    )


def test_too_large(api: Api) -> None:
    answer = put(api, b" " * (4 << 20) + b"{}")
    assert (answer.status, answer.codes) == (413, ["MANIFEST_INVALID"])


def test_bytes_of_another_digest(api: Api) -> None:
    answer = put(api, api.image(LAYER), reference=str(Digest.of(b"other")))
    assert (answer.status, answer.codes) == (400, ["DIGEST_INVALID"])


def test_what_is_not_there(api: Api) -> None:
    assert api.get(V1).codes == ["NAME_UNKNOWN"]
    api.push_blob(LAYER)
    for reference in ("v1", str(Digest.of(LAYER)), ".no-tag"):
        answer = api.get(f"/v2/org/model/manifests/{reference}")
        assert (answer.status, answer.codes) == (404, ["MANIFEST_UNKNOWN"])


def test_a_tag_that_is_none(api: Api) -> None:
    assert put(api, api.image(LAYER), reference=".v1").codes == ["MANIFEST_INVALID"]


def test_deleting_a_tag_keeps_the_manifest(api: Api) -> None:
    digest = api.push_manifest(api.image(LAYER), "v1")
    assert api.call("DELETE", V1).status == 202
    assert api.get(V1).status == 404
    assert api.get(f"/v2/org/model/manifests/{digest}").status == 200
    assert api.call("DELETE", V1).codes == ["MANIFEST_UNKNOWN"]


def test_deleting_a_manifest_takes_its_tags_along(api: Api) -> None:
    manifest = api.image(LAYER)
    digest = api.push_manifest(manifest, "v1")
    api.push_manifest(manifest, "latest")
    api.push_manifest(api.image(b"other"), "other")
    assert api.call("DELETE", f"/v2/org/model/manifests/{digest}").status == 202
    assert api.get("/v2/org/model/tags/list").json["tags"] == ["other"]
    assert api.get(f"/v2/org/model/manifests/{digest}").codes == ["MANIFEST_UNKNOWN"]


def test_a_manifest_whose_content_left_the_store_is_not_there(api: Api) -> None:
    digest = api.push_manifest(api.image(LAYER), "v1")
    api.context.store.delete(digest)
    assert api.call("HEAD", V1).status == 404
