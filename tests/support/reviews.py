"""Requests as the API server sends them, and its view of answers."""

from __future__ import annotations

import base64
import json
from typing import Any

import jsonpatch

UID = "705ab4f5-6393-11e8-b7cc-42010a800002"


def a_pod(**annotations: str) -> dict[str, Any]:
    """A pod as a ReplicaSet makes it: without name and namespace. `_` in a name stands for `/`."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "web-7d4b9c-",
            "annotations": {name.replace("__", "/").replace("_", "."): value for name, value in annotations.items()},
        },
        "spec": {"containers": [{"name": "web", "image": "registry.example/web:1"}]},
    }


def a_review(pod: object = None, **changes: Any) -> dict[str, Any]:
    """The review of a pod that is created; `changes` replace fields of its request, `...` removes them."""
    request: dict[str, Any] = {
        "uid": UID,
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "requestKind": {"group": "", "version": "v1", "kind": "Pod"},
        "requestResource": {"group": "", "version": "v1", "resource": "pods"},
        "namespace": "models",
        "operation": "CREATE",
        "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller", "groups": []},
        "object": a_pod() if pod is None else pod,
        "oldObject": None,
        "dryRun": False,
        "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
    }
    request = {name: value for name, value in (request | changes).items() if value is not ...}
    return {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}


def raw(review: object) -> bytes:
    return json.dumps(review).encode()


def response_of(body: bytes, uid: str = UID) -> dict[str, Any]:
    """The response, checked as the API server checks it."""
    review = json.loads(body)
    assert (review["apiVersion"], review["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    response: dict[str, Any] = review["response"]
    assert response["uid"] == uid
    assert isinstance(response["allowed"], bool)
    assert ("patch" in response) == ("patchType" in response)
    if "patch" in response:
        assert response["patchType"] == "JSONPatch"
    for warning in response.get("warnings", []):
        assert warning.isprintable()
        assert len(warning) <= 256
    assert sum(map(len, response.get("warnings", []))) <= 4096
    return response


def patched_by(response: dict[str, Any], pod: dict[str, Any]) -> dict[str, Any]:
    """The pod after the response's patch, by a library that is not ours."""
    if "patch" not in response:
        return pod
    result = jsonpatch.apply_patch(pod, json.loads(base64.b64decode(response["patch"])))
    assert isinstance(result, dict)
    return result
