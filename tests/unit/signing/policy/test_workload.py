"""`match`: which Kubernetes objects a policy is for."""

from __future__ import annotations

from typing import Any

import pytest

from modelcar.signing.policy.fields import ClosedFields
from modelcar.signing.policy.workload import Workload, parse_match

POD = Workload(group="", version="v1", resource="pods", labels={"app": "llm", "tier": "gpu"})


def selects(**entry: Any) -> bool:
    (match,) = parse_match(ClosedFields({"match": [entry]}, "f", ("match",)))
    return match.matches(POD)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ({"version": "v1", "resource": "pods"}, True),
        ({"version": "*", "resource": "pods"}, True),
        ({"version": "v2", "resource": "pods"}, False),
        ({"group": "apps", "version": "v1", "resource": "pods"}, False),
        ({"version": "v1", "resource": "deployments"}, False),
    ],
)
def test_kinds(kind: dict[str, str], expected: bool) -> None:
    assert selects(**kind) is expected


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({}, True),
        ({"matchLabels": {"app": "llm"}}, True),
        ({"matchLabels": {"app": "llm", "tier": "cpu"}}, False),
        ({"matchLabels": {"other": "llm"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["x", "llm"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["x"]}]}, False),
        ({"matchExpressions": [{"key": "none", "operator": "In", "values": ["x"]}]}, False),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["llm"]}]}, False),
        ({"matchExpressions": [{"key": "none", "operator": "NotIn", "values": ["llm"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "none", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "none", "operator": "DoesNotExist"}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, False),
        (
            {"matchLabels": {"app": "llm"}, "matchExpressions": [{"key": "tier", "operator": "In", "values": ["cpu"]}]},
            False,
        ),
    ],
)
def test_labels(selector: dict[str, Any], expected: bool) -> None:
    assert selects(version="v1", resource="pods", selector=selector) is expected
