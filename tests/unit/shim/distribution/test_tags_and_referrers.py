"""Tags, the catalogue, referrers."""

from __future__ import annotations

from typing import Any

import pytest

from modelcar.oci import Digest
from modelcar.oci.media_types import CONFIG, INDEX, MANIFEST
from tests.unit.shim.api import Answer, Api

TAGS = "/v2/org/model/tags/list"


@pytest.fixture
def tagged(api: Api) -> Api:
    manifest = api.image(b"weights")
    for tag in ("v10", "v1", "Latest", "beta", "v2"):
        api.push_manifest(manifest, tag)
    return api


def test_tags_come_in_an_order_that_ignores_case(tagged: Api) -> None:
    assert tagged.get(TAGS).json == {"name": "org/model", "tags": ["beta", "Latest", "v1", "v10", "v2"]}


def test_pages_lead_to_one_another_and_end(tagged: Api) -> None:
    url, pages = f"{TAGS}?n=2", []
    while url:
        answer = tagged.get(url)
        pages.append(answer.json["tags"])
        url = next_page(answer)
    assert pages == [["beta", "Latest"], ["v1", "v10"], ["v2"]]


def test_tags_that_differ_in_case_alone_are_two(api: Api) -> None:
    for tag in ("V1", "v1", "v1-a"):
        api.push_manifest(api.image(), tag)
    assert api.get(f"{TAGS}?n=1").json["tags"] == ["V1"]
    assert api.get(f"{TAGS}?n=1&last=V1").json["tags"] == ["v1"]
    assert api.get(f"{TAGS}?n=1&last=v1").json["tags"] == ["v1-a"]


def next_page(answer: Answer) -> str:
    link = answer.headers.get("Link", "")
    if link:
        assert link.endswith('>; rel="next"')
    return link.removeprefix("<").removesuffix('>; rel="next"')


def test_from_a_tag_on_whether_it_exists_or_not(tagged: Api) -> None:
    assert tagged.get(f"{TAGS}?last=v1").json["tags"] == ["v10", "v2"]
    assert tagged.get(f"{TAGS}?last=LATE").json["tags"] == ["Latest", "v1", "v10", "v2"]
    assert tagged.get(f"{TAGS}?n=1&last=v11").json["tags"] == ["v2"]


def test_none_of_them(tagged: Api) -> None:
    answer = tagged.get(f"{TAGS}?n=0")
    assert (answer.json["tags"], next_page(answer)) == ([], "")


def test_how_many_is_a_number(tagged: Api) -> None:
    assert tagged.get(f"{TAGS}?n=0000000002").json["tags"] == ["beta", "Latest"]
    assert tagged.get(f"{TAGS}?n=1{'0' * 5000}").status == 400
    assert tagged.get(f"{TAGS}?n=many").status == 400
    assert tagged.get(f"{TAGS}?n=-1").status == 400


def test_a_repository_that_is_not_there_has_no_list(api: Api) -> None:
    answer = api.get(TAGS)
    assert (answer.status, answer.codes) == (404, ["NAME_UNKNOWN"])


def test_the_catalogue_has_what_holds_a_manifest(api: Api) -> None:
    api.push_blob(b"no manifest", repo="only/blobs")
    for name in ("b/inner", "a", "b"):
        api.repo = name
        api.push_manifest(api.image(b"weights"))
    assert api.get("/v2/_catalog").json == {"repositories": ["a", "b", "b/inner"]}
    answer = api.get("/v2/_catalog?n=2")
    assert answer.json == {"repositories": ["a", "b"]}
    assert api.get(next_page(answer)).json == {"repositories": ["b/inner"]}


def referrer(api: Api, subject: Digest, artifact_type: str, **fields: Any) -> Digest:
    described = {"mediaType": MANIFEST, "digest": str(subject), "size": 7}
    return api.push_manifest(api.image(artifactType=artifact_type, subject=described, **fields))


def test_referrers_carry_what_a_reader_chooses_by(api: Api) -> None:
    subject = Digest.of(b"subject")
    signature = referrer(api, subject, "application/vnd.example.signature", annotations={"who": "us"})
    referrer(api, Digest.of(b"another subject"), "application/vnd.example.signature")
    answer = api.get(f"/v2/org/model/referrers/{subject}")
    assert (answer.status, answer.headers["Content-Type"]) == (200, INDEX)
    assert answer.json["mediaType"] == INDEX
    (entry,) = answer.json["manifests"]
    assert entry["digest"] == str(signature)
    assert entry["mediaType"] == MANIFEST
    assert entry["artifactType"] == "application/vnd.example.signature"
    assert entry["annotations"] == {"who": "us"}


def test_without_an_artifact_type_the_config_tells(api: Api) -> None:
    subject = Digest.of(b"subject")
    api.push_manifest(api.image(subject={"mediaType": MANIFEST, "digest": str(subject), "size": 7}))
    (entry,) = api.get(f"/v2/org/model/referrers/{subject}").json["manifests"]
    assert entry["artifactType"] == CONFIG


def test_an_index_refers_too(api: Api) -> None:
    subject = Digest.of(b"subject")
    digest = api.push_manifest(api.index(subject={"mediaType": MANIFEST, "digest": str(subject), "size": 7}))
    (entry,) = api.get(f"/v2/org/model/referrers/{subject}").json["manifests"]
    assert (entry["digest"], entry["mediaType"]) == (str(digest), INDEX)
    assert "artifactType" not in entry


@pytest.mark.parametrize("plus", ["%2B", "+"])
def test_one_artifact_type(api: Api, plus: str) -> None:
    subject = Digest.of(b"subject")
    wanted = referrer(api, subject, "application/a+json")
    referrer(api, subject, "application/b+json")
    answer = api.get(f"/v2/org/model/referrers/{subject}?artifactType=application/a{plus}json")
    assert answer.headers["OCI-Filters-Applied"] == "artifactType"
    assert [entry["digest"] for entry in answer.json["manifests"]] == [str(wanted)]


def test_nobody_refers(api: Api) -> None:
    answer = api.get(f"/v2/nowhere/referrers/{Digest.of(b'subject')}")
    assert (answer.status, answer.json["manifests"]) == (200, [])
    assert api.get("/v2/nowhere/referrers/nonsense").codes == ["DIGEST_INVALID"]


def test_a_deleted_referrer_is_gone(api: Api) -> None:
    subject = Digest.of(b"subject")
    digest = referrer(api, subject, "application/a")
    api.call("DELETE", f"/v2/org/model/manifests/{digest}")
    assert api.get(f"/v2/org/model/referrers/{subject}").json["manifests"] == []


def test_more_than_a_client_must_accept_comes_in_pages(api: Api) -> None:
    subject = Digest.of(b"subject")
    pushed = {
        str(referrer(api, subject, "application/a", annotations={"n": f"{i}" + "x" * 3_000_000})) for i in range(3)
    }
    url, found = f"/v2/org/model/referrers/{subject}?artifactType=application/a", []
    while url:
        answer = api.get(url)
        assert len(answer.body) <= 4 << 20
        found += [entry["digest"] for entry in answer.json["manifests"]]
        url = next_page(answer)
    assert found == sorted(pushed)
