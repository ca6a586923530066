"""Pull secrets: which ones, in which order, and nothing else of the cluster."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from modelcar.cluster.resources import SECRETS, SERVICE_ACCOUNTS, Object
from modelcar.cluster.secrets import ClusterSecrets
from modelcar.cluster.testing import MemoryCluster
from modelcar.errors import ClusterForbidden

JSON = "kubernetes.io/dockerconfigjson"


def secret(name: str, text: str, kind: str = JSON) -> tuple[Any, Object]:
    data = {".dockerconfigjson": base64.b64encode(text.encode()).decode()}
    return SECRETS, {"metadata": {"name": name, "namespace": "team"}, "type": kind, "data": data}


def account(name: str, *secrets: str) -> tuple[Any, Object]:
    meta = {"name": name, "namespace": "team"}
    return SERVICE_ACCOUNTS, {"metadata": meta, "imagePullSecrets": [{"name": s} for s in secrets]}


@pytest.fixture
def cluster() -> MemoryCluster:
    return MemoryCluster(
        secret("a", "{}"),
        secret("b", "[]"),
        secret("opaque", "{}", "Opaque"),
        account("default", "b"),
        account("robot", "a", "b"),
    )


def test_the_pods_own_come_in_its_order(cluster: MemoryCluster) -> None:
    found = ClusterSecrets(cluster).for_pod("team", ["b", "missing", "a", "b", "opaque"], "robot")
    assert [s.name for s in found] == ["b", "a"]
    assert found[0].data == {".dockerconfigjson": b"[]"}
    assert not [r for r in cluster.requests if r[1] == "serviceaccounts"], (
        "a pod with secrets does not use its account's"
    )


@pytest.mark.parametrize(("name", "expected"), [("", ["b"]), ("robot", ["a", "b"]), ("nobody", [])])
def test_without_any_those_of_the_account_count(cluster: MemoryCluster, name: str, expected: list[str]) -> None:
    assert [s.name for s in ClusterSecrets(cluster).for_pod("team", [], name)] == expected


def test_nothing_is_listed_and_no_other_namespace_is_looked_at(cluster: MemoryCluster) -> None:
    assert ClusterSecrets(cluster).for_pod("elsewhere", ["a"], "robot") == ()
    assert {method for method, _, _ in cluster.requests} == {"get"}


def test_a_refusal_is_not_the_same_as_no_secret(cluster: MemoryCluster) -> None:
    def refuse(*_: object) -> None:
        raise ClusterForbidden("secrets is forbidden", status=403)

    cluster.before = refuse
    with pytest.raises(ClusterForbidden):
        ClusterSecrets(cluster).for_pod("team", ["a"], "")
