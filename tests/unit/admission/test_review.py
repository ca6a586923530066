"""AdmissionReview v1: what is read, what is not, and what the API server takes of an answer."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from modelcar.admission.review import allowed, denied, errored, patched, read_review
from modelcar.errors import Denied, UsageError
from tests.support.reviews import UID, a_pod, a_review, raw, response_of


def test_a_pod_that_is_created_is_a_question() -> None:
    question = read_review(raw(a_review(dryRun=True)))
    assert question.creates_pod
    assert question.dry_run
    assert (question.uid, question.namespace, question.name) == (UID, "models", "web-7d4b9c-")
    assert (question.operation, question.kind, question.resource) == ("CREATE", "v1/Pod", "v1/pods")
    assert question.object == a_pod()


def test_the_requests_name_goes_before_the_pods_prefix() -> None:
    assert read_review(raw(a_review(name="web-7d4b9c-x"))).name == "web-7d4b9c-x"
    assert read_review(raw(a_review({"metadata": {"name": "bare"}}))).name == "bare"
    assert read_review(raw(a_review({"metadata": {"generateName": 7}}))).name == ""
    assert read_review(raw(a_review({"metadata": []}))).name == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"operation": "UPDATE", "subResource": "ephemeralcontainers"},
        {"operation": "UPDATE"},
        {"operation": "DELETE", "object": None},
        {"operation": "CONNECT", "subResource": "exec"},
        {"subResource": "binding"},
        {"resource": {"group": "apps", "version": "v1", "resource": "deployments"}},
    ],
)
def test_what_creates_no_pod_is_read_and_told_apart(changes: dict[str, Any]) -> None:
    assert not read_review(raw(a_review(**changes))).creates_pod


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe{\x00}\x00", "not JSON"),
        (b"{" * 100_000, "not JSON"),
        (b"[" * 100_000 + b"]" * 100_000, "not JSON"),
        (b'{"kind": NaN}', "not JSON"),
        (b'{"kind": 1e999}', "not JSON"),
        (b"1" * 5000, "not JSON"),
        (b"[]", "no AdmissionReview"),
        (b'"AdmissionReview"', "no AdmissionReview"),
        (raw({"kind": "Pod", "apiVersion": "v1"}), "no AdmissionReview"),
        (raw(a_review() | {"apiVersion": "admission.k8s.io/v1beta1"}), "not admission.k8s.io/v1"),
        (raw(a_review() | {"apiVersion": ["x"] * 1000}), "not admission.k8s.io/v1"),
        (raw(a_review() | {"request": None}), "has no request"),
        (raw(a_review() | {"request": []}), "has no request"),
        (raw(a_review(uid=...)), "no uid"),
        (raw(a_review(uid="x" * 129)), "no uid"),
        (raw(a_review(uid=7)), "uid in the request"),
        (raw(a_review(operation="create")), "no operation"),
        (raw(a_review(namespace={})), "namespace in the request"),
        (raw(a_review(object=[])), "an object that is none"),
        (raw(a_review(dryRun="yes")), "a dryRun that is no boolean"),
        (raw(a_review(object=...)), "does not have it"),
        (raw(a_review(kind="Pod")), "kind in the request"),
        (raw(a_review(resource=None)), "resource in the request"),
        (raw(a_review(resource={"group": 1, "version": "v1", "resource": "pods"})), "resource in the request"),
        (raw(a_review(kind={"group": "", "version": "v1", "kind": ""})), "kind in the request"),
    ],
)
def test_what_is_no_review_is_one_clear_line(body: bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        read_review(body)
    assert len(str(caught.value)) < 200


def test_a_patch_is_base64_of_a_json_patch() -> None:
    question = read_review(raw(a_review()))
    patch = [{"op": "add", "path": "/metadata/labels", "value": {"a": "<&>\u2028\ud800é"}}]
    response = response_of(patched(question, patch, audit={"image.0": "sha256:…"}).to_bytes())
    assert response["allowed"] is True
    assert json.loads(base64.b64decode(response["patch"])) == patch
    assert response["auditAnnotations"] == {"image.0": "sha256:…"}


def test_without_changes_there_is_no_patch() -> None:
    question = read_review(raw(a_review()))
    assert patched(question, []).decision == "allowed"
    assert response_of(patched(question, []).to_bytes()) == response_of(allowed(question).to_bytes())
    assert response_of(allowed(question).to_bytes()) == {"uid": UID, "allowed": True}


def test_a_denial_says_why_and_what_to_do_on_one_line() -> None:
    error = Denied("no", reasons=("first\nline", "second\x1b[2J"), hint="do that")
    response = response_of(denied(read_review(raw(a_review())), error).to_bytes())
    assert response["allowed"] is False
    assert response["status"] == {
        "status": "Failure",
        "code": 403,
        "reason": "Forbidden",
        "message": "no; first line; second?[2J; do that",
    }


def test_a_long_denial_fits_an_event() -> None:
    response = response_of(denied(read_review(raw(a_review())), Denied("x" * 5000)).to_bytes())
    assert len(response["status"]["message"]) == 1000
    assert response["status"]["message"].endswith("x…")


def test_warnings_are_what_the_api_server_passes_on() -> None:
    question = read_review(raw(a_review()))
    many = ("twice", "twice", "two\nlines", "", "long " * 100, *(f"{n} {'w' * 200}" for n in range(100)))
    warnings = response_of(allowed(question, warnings=many).to_bytes())["warnings"]
    assert warnings[:2] == ["twice", "two lines"]
    assert warnings[2].endswith("…")
    assert warnings[-1] == f"there are {103 - (len(warnings) - 1)} more warnings"


def test_audit_annotations_have_names_that_the_api_server_takes() -> None:
    audit = {"trust": "verified", "not/allowed": "x", "": "x", "x" * 64: "x", "long": "y" * 2000}
    response = response_of(allowed(read_review(raw(a_review())), audit=audit).to_bytes())
    assert set(response["auditAnnotations"]) == {"trust", "long"}
    assert len(response["auditAnnotations"]["long"]) == 1000


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (400, "BadRequest"),
        (500, "InternalError"),
        (503, "ServiceUnavailable"),
        (504, "Timeout"),
        (413, "InternalError"),
    ],
)
def test_what_is_left_to_the_failure_policy_is_a_status(code: int, reason: str) -> None:
    status = json.loads(errored(code, "too\nmuch"))
    assert (status["kind"], status["apiVersion"], status["status"]) == ("Status", "v1", "Failure")
    assert (status["code"], status["reason"], status["message"]) == (code, reason, "too much")
