"""Where the API server is, and what is wrong where that cannot be told."""

from __future__ import annotations

import base64
import ssl
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelcar.backoff import Backoff
from modelcar.cluster.access import Access, find_access, from_kubeconfig, in_cluster
from modelcar.cluster.api import ApiServer
from modelcar.cluster.resources import NODES
from modelcar.cluster.testing import MemoryCluster
from modelcar.errors import ClusterForbidden, ClusterUnreachable, UsageError
from tests.support.api_server import served
from tests.support.authority import Authority


def kubeconfig(folder: Path, cluster: dict[str, Any], user: dict[str, Any] | None = None) -> Path:
    document = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "models"}}],
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user or {}}],
    }
    path = folder / "config"
    path.write_text(yaml.safe_dump(document))
    return path


def test_a_token_file_is_read_at_every_request(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first\n")
    access = from_kubeconfig(kubeconfig(tmp_path, {"server": "http://127.0.0.1:1/"}, {"tokenFile": "token"}))
    assert (access.server, access.namespace, access.token()) == ("http://127.0.0.1:1", "models", "first")
    (tmp_path / "token").write_text("second")
    assert access.token() == "second"


@pytest.mark.parametrize(
    ("cluster", "user", "says"),
    [
        ({}, {}, "no server"),
        ({"server": "https://h", "insecure-skip-tls-verify": True}, {}, "insecure-skip-tls-verify"),
        ({"server": "https://h", "certificate-authority-data": "!"}, {}, "not base64"),
        ({"server": "https://h", "certificate-authority-data": base64.b64encode(b"x").decode()}, {}, "certificates"),
        ({"server": "https://h", "certificate-authority": "missing.crt"}, {}, "missing.crt"),
        ({"server": "https://h"}, {"exec": {"command": "aws"}}, "plug-in"),
    ],
)
def test_what_cannot_be_used_is_said(tmp_path: Path, cluster: dict[str, Any], user: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        from_kubeconfig(kubeconfig(tmp_path, cluster, user))


@pytest.mark.parametrize("text", ["", "[]", "{", "current-context: x", "contexts: 3"])
def test_what_is_no_kubeconfig_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").write_text(text)
    with pytest.raises(UsageError, match="config"):
        from_kubeconfig(tmp_path / "config")


def test_a_pod_is_its_service_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path / "authority")
    for name, text in (("token", "t\n"), ("namespace", "models"), ("ca.crt", authority.ca_file.read_text())):
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    access = in_cluster(tmp_path)
    assert (access.server, access.token(), access.namespace) == ("https://[fd00::1]:6443", "t", "models")
    assert access.context is not None
    assert access.context.verify_mode is ssl.CERT_REQUIRED
    assert len(access.context.get_ca_certs()) == 1, "the cluster's authority and nobody else"


def test_nowhere_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KUBERNETES_SERVICE_HOST", "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UsageError, match="no cluster is known"):
        find_access()
    with pytest.raises(UsageError, match="no pod"):
        in_cluster(tmp_path)


@pytest.mark.slow
def test_a_server_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelcar.cluster.api._BACKOFF", Backoff(0.01, 0.01))
    client = ApiServer(Access(server="http://127.0.0.1:9", context=None))
    with pytest.raises(ClusterUnreachable, match="nothing listens") as caught:
        client.get(NODES, "n")
    assert "registry" not in str(caught.value.hint)


@pytest.mark.slow
def test_a_read_is_tried_again_and_a_write_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelcar.cluster.api._BACKOFF", Backoff(0.01, 0.01))
    memory = MemoryCluster((NODES, {"metadata": {"name": "n"}}))
    left = 2

    def unwell(*_: object) -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            raise ClusterUnreachable("overloaded", status=503)

    memory.before = unwell
    with served(memory) as server:
        client = ApiServer(Access(server=server, context=None))
        assert client.get(NODES, "n")["metadata"]["name"] == "n"
        left = 1
        with pytest.raises(ClusterUnreachable, match="overloaded"):
            client.patch(NODES, "n", {"metadata": {"labels": {"a": "b"}}})
        client.close()


@pytest.mark.slow
def test_the_token_is_sent_and_never_shown() -> None:
    memory = MemoryCluster()

    def refuse(*_: object) -> None:
        raise ClusterForbidden("forbidden", status=403)

    memory.before = refuse
    with served(memory) as server:
        client = ApiServer(Access(server=server, context=None, token=lambda: "a-secret-token"))
        with pytest.raises(ClusterForbidden) as caught:
            client.get(NODES, "n")
        client.close()
    assert "a-secret-token" not in f"{caught.value}{caught.value.hint}{client.access.server}"
