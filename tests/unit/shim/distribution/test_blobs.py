from __future__ import annotations

from collections.abc import Callable

import pytest

from modelcar.oci import Digest
from tests.unit.shim.api import Api

CONTENT = bytes(range(256)) * 8


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_pushed_blob_is_served_with_what_caches_and_clients_need(api: Api, algorithm: str) -> None:
    digest = api.push_blob(CONTENT, algorithm=algorithm)
    answer = api.get(f"/v2/org/model/blobs/{digest}")
    assert (answer.status, answer.body) == (200, CONTENT)
    assert answer.headers["Docker-Content-Digest"] == str(digest)
    assert answer.headers["ETag"] == f'"{digest}"'
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"


def test_head_differs_from_get_in_nothing_but_the_body(api: Api) -> None:
    url = f"/v2/org/model/blobs/{api.push_blob(CONTENT)}"
    get, head = api.get(url), api.call("HEAD", url, headers={"Range": "bytes=0-1"})
    assert (head.status, head.headers, len(head.body)) == (get.status, get.headers, len(get.body))


def test_part_of_a_blob(api: Api) -> None:
    answer = api.get(f"/v2/org/model/blobs/{api.push_blob(CONTENT)}", Range="bytes=-8")
    assert (answer.status, answer.body) == (206, CONTENT[-8:])
    assert answer.headers["Content-Range"] == "bytes 2040-2047/2048"


def test_a_range_past_the_end_says_how_long_the_blob_is(api: Api) -> None:
    answer = api.get(f"/v2/org/model/blobs/{api.push_blob(CONTENT)}", Range="bytes=2048-")
    assert (answer.status, answer.headers["Content-Range"]) == (416, "bytes */2048")
    assert answer.codes == ["SIZE_INVALID"]


def test_a_client_that_has_it_gets_nothing(api: Api) -> None:
    digest = api.push_blob(CONTENT)
    answer = api.get(f"/v2/org/model/blobs/{digest}", If_None_Match=f'"{digest}"')
    assert (answer.status, answer.body) == (304, b"")


def test_a_repository_serves_only_what_was_pushed_to_it(api: Api) -> None:
    digest = api.push_blob(CONTENT, repo="private/model")
    assert api.get(f"/v2/private/model/blobs/{digest}").status == 200
    for repo in ("private", "org/model"):
        answer = api.get(f"/v2/{repo}/blobs/{digest}")
        assert (answer.status, answer.codes) == (404, ["BLOB_UNKNOWN"])


def test_a_manifest_is_no_blob(api: Api) -> None:
    digest = api.push_manifest(api.image(CONTENT))
    assert api.get(f"/v2/org/model/blobs/{digest}").status == 404


@pytest.mark.parametrize("digest", ["sha256:12", "md5:" + "0" * 32, "sha256:" + "G" * 64, "nonsense"])
def test_what_is_no_digest(api: Api, digest: str) -> None:
    answer = api.get(f"/v2/org/model/blobs/{digest}")
    assert (answer.status, answer.codes) == (400, ["DIGEST_INVALID"])


def test_deleting_unlinks_from_one_repository(api: Api) -> None:
    digest = api.push_blob(CONTENT)
    api.push_blob(CONTENT, repo="other")
    assert api.call("DELETE", f"/v2/org/model/blobs/{digest}").status == 202
    assert api.get(f"/v2/org/model/blobs/{digest}").status == 404
    assert api.get(f"/v2/other/blobs/{digest}").status == 200
    assert api.call("DELETE", f"/v2/org/model/blobs/{digest}").codes == ["BLOB_UNKNOWN"]


def test_content_that_left_the_store_can_be_pushed_again(api: Api) -> None:
    digest = api.push_blob(CONTENT)
    api.context.store.delete(digest)
    assert api.call("HEAD", f"/v2/org/model/blobs/{digest}").status == 404
    api.push_blob(CONTENT)
    assert api.get(f"/v2/org/model/blobs/{digest}").body == CONTENT


def test_a_read_only_registry_says_so(make_api: Callable[..., Api]) -> None:
    digest = make_api().push_blob(CONTENT)
    api = make_api(writable=False)
    assert api.get(f"/v2/org/model/blobs/{digest}").status == 200
    for method, url in [
        ("POST", "/v2/org/model/blobs/uploads/"),
        ("PUT", "/v2/org/model/manifests/v1"),
        ("DELETE", f"/v2/org/model/blobs/{digest}"),
    ]:
        answer = api.call(method, url, b"{}")
        assert (answer.status, answer.codes) == (405, ["DENIED"])
        assert "--writable" in answer.json["errors"][0]["message"]


def test_a_registry_that_keeps_everything(make_api: Callable[..., Api]) -> None:
    api = make_api(deletable=False)
    digest = api.push_blob(CONTENT)
    for url in (f"/v2/org/model/blobs/{digest}", f"/v2/org/model/manifests/{digest}", "/v2/org/model/manifests/v1"):
        answer = api.call("DELETE", url)
        assert (answer.status, answer.codes) == (405, ["UNSUPPORTED"])


def test_the_empty_blob(api: Api) -> None:
    digest = api.push_blob(b"")
    assert digest == Digest.of(b"")
    assert api.get(f"/v2/org/model/blobs/{digest}").body == b""
