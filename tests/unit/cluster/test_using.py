"""Which pods keep a ModelCache from being deleted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelcar.cluster.using import same_image, users
from tests.support.cluster_objects import IMAGE, pod

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64


@pytest.mark.parametrize(
    ("used", "image", "digest", "same"),
    [
        (IMAGE, IMAGE, None, True),
        ("oci://ghcr.io/acme/llm:v1", IMAGE, None, True),
        ("oci+native://ghcr.io/acme/llm:v1", IMAGE, None, True),
        ("ghcr.io/acme/llm:v2", IMAGE, None, False),
        ("ghcr.io/acme/llm2:v1", IMAGE, None, False),
        (f"ghcr.io/acme/llm:v1@{DIGEST}", IMAGE, DIGEST, True),
        (f"ghcr.io/acme/llm@{DIGEST}", IMAGE, DIGEST, True),
        (f"ghcr.io/acme/llm:v1@{OTHER}", IMAGE, DIGEST, False),  # an earlier v1, which this cache does not keep
        (f"ghcr.io/acme/llm:v1@{OTHER}", IMAGE, None, True),  # what v1 is, is not known here
        (f"ghcr.io/acme/llm@{DIGEST}", f"ghcr.io/acme/llm@{DIGEST}", None, True),
        ("llama", "docker.io/library/llama:latest", None, True),
        ("not an image", "not an image", None, True),
    ],
)
def test_what_is_the_same_image(used: str, image: str, digest: str | None, same: bool) -> None:
    assert same_image(used, image, digest) is same


@pytest.mark.parametrize(
    "spec",
    [
        {"containers": [{"image": IMAGE}]},
        {"ephemeralContainers": [{"image": IMAGE}]},
        {"volumes": [{"name": "m", "image": {"reference": IMAGE}}]},
    ],
)
def test_pods_use_images_in_many_ways(spec: dict[str, Any]) -> None:
    one = {"metadata": {"name": "p", "namespace": "team"}, "spec": {"nodeName": "a", **spec}}
    assert users([one], IMAGE, None, ["a"]) == ["team/p on a"]
    assert users([one], IMAGE, None, ["b"]) == []


def test_what_a_pod_was_resolved_to_counts() -> None:
    one = pod("p", "a", image="other:v1")
    one["metadata"]["annotations"] = {"modelcar.dev/digests": json.dumps({"ghcr.io/acme/llm:v9": DIGEST})}
    assert users([one], IMAGE, DIGEST, ["a"]) == ["team/p on a"]


@pytest.mark.parametrize("strange", [None, "", "[]", "{", '{"a": 3}', '"x"'])
def test_a_strange_annotation_is_none(strange: str | None) -> None:
    one = pod("p", "a")
    one["metadata"]["annotations"] = {"modelcar.dev/digests": strange}
    assert users([one], IMAGE, None, ["a"]) == ["team/p on a"]


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_pods_that_are_over_use_nothing(phase: str) -> None:
    assert users([pod("p", "a", phase=phase)], IMAGE, None, ["a"]) == []
