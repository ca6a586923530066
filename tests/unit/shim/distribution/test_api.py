"""Which path goes where, and what becomes of exceptions."""

from __future__ import annotations

import pytest

from modelcar import errors
from modelcar.errors import ModelcarError, NoSpace, StorageError
from modelcar.serving.messages import Request
from registry_shim.distribution.errors import answer
from tests.unit.shim.api import Api


def test_the_base(api: Api) -> None:
    for url in ("/v2/", "/v2"):
        response = api.get(url)
        assert (response.status, response.headers["Docker-Distribution-Api-Version"]) == (200, "registry/2.0")


def test_endpoint_words_are_names_of_repositories_too(api: Api) -> None:
    for name in ("blobs", "tags/list", "a/blobs/uploads", "manifests/referrers"):
        digest = api.push_blob(b"content", repo=name)
        assert api.get(f"/v2/{name}/blobs/{digest}").status == 200


@pytest.mark.parametrize("name", ["Upper", "a//b", "-a", "a" * 256, "a/../b", "a/_tags"])
def test_what_is_no_name(api: Api, name: str) -> None:
    response = api.get(f"/v2/{name}/manifests/v1")
    assert (response.status, response.codes) == (400, ["NAME_INVALID"])


@pytest.mark.parametrize("url", ["/", "/v1/", "/v2/a/b", "/v2/a/manifests/"])
def test_what_is_no_endpoint(api: Api, url: str) -> None:
    assert api.get(url).status == 404


def test_a_method_that_an_endpoint_lacks(api: Api) -> None:
    response = api.call("POST", "/v2/a/manifests/v1")
    assert (response.status, response.codes) == (405, ["UNSUPPORTED"])
    assert response.headers["Allow"] == "DELETE, GET, HEAD, PUT"


ALL = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ModelcarError)]


@pytest.mark.parametrize("kind", ALL)
def test_every_exception_of_ours_becomes_an_answer(kind: type[ModelcarError]) -> None:
    response = answer(kind("it is so", hint="do this"), Request(method="GET", path="/v2/"))
    assert 400 <= response.status < 600
    assert response.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_a_full_disk_is_no_fault_that_passes_at_once(method: str) -> None:
    response = answer(NoSpace("no room for 1 GiB in /data"), Request(method=method, path="/v2/"))
    assert response.status == 507
    assert isinstance(response.body, bytes)
    assert b"No space left" in response.body
    assert b"/data" not in response.body
    assert answer(StorageError("/data is damaged"), Request(method=method, path="/v2/")).status == 500


def test_a_defect_is_not_told_to_clients(caplog: pytest.LogCaptureFixture) -> None:
    response = answer(RuntimeError("a secret"), Request(method="GET", path="/v2/"))
    assert response.status == 500
    assert isinstance(response.body, bytes)
    assert b"secret" not in response.body
    assert "a secret" in caplog.text
