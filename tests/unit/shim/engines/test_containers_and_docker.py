"""registries.conf, for which a mirror is only a suggestion, and daemon.json, for which it always is."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest

from modelcar.errors import StorageError, UsageError
from registry_shim.engines import containers, docker
from registry_shim.engines.settings import Engine, WiringSettings


def tables(settings: WiringSettings) -> dict[str, dict[str, Any]]:
    document = tomllib.loads(containers.registries_conf(settings))
    assert set(document) == {"registry"}  # and neither aliases nor unqualified-search-registries
    return {table["prefix"]: table for table in document["registry"]}


def settings_for(*registries: str, **more: Any) -> WiringSettings:
    return WiringSettings(registries=registries, engines=frozenset({Engine.PODMAN}), **more)


def test_the_registry_is_the_shim_and_no_mirror_of_it() -> None:
    found = tables(settings_for("ghcr.io", "docker.io"))
    assert found["ghcr.io"]["location"] == "127.0.0.1:5000/ghcr.io"
    assert found["docker.io"]["location"] == "127.0.0.1:5000/docker.io"
    assert all("mirror" not in table for table in found.values())


def test_a_port_in_a_path_is_a_hyphen_as_no_reference_could_hold_it() -> None:
    assert tables(settings_for("registry.example:5000"))["registry.example:5000"]["location"].endswith(
        ":5000/registry.example-5000"
    )


def test_only_plain_http_on_this_node_goes_unverified() -> None:
    assert tables(settings_for("ghcr.io"))["ghcr.io"]["insecure"] is True
    assert "insecure" not in tables(settings_for("ghcr.io", shim="https://node:5000"))["ghcr.io"]


def test_what_is_excluded_has_a_longer_prefix_and_stays_where_it_is() -> None:
    found = tables(settings_for("ghcr.io", excluded=("ghcr.io/acme/registry-shim", "quay.io/other/thing")))
    assert found["ghcr.io/acme/registry-shim"] == {
        "prefix": "ghcr.io/acme/registry-shim",
        "location": "ghcr.io/acme/registry-shim",
    }
    assert "quay.io/other/thing" not in found


def test_a_host_without_port_gets_one() -> None:
    assert tables(settings_for("ghcr.io", shim="https://node"))["ghcr.io"]["location"] == "node:443/ghcr.io"
    assert tables(settings_for("ghcr.io", shim="http://localhost"))["ghcr.io"]["location"] == "localhost:80/ghcr.io"


def test_the_authority_lies_where_these_engines_look() -> None:
    files = containers.plan(settings_for("ghcr.io", shim="https://node:5000"), ca=b"PEM")
    assert [str(file.path) for file in files] == [
        "/etc/containers/certs.d/node:5000/ca.crt",
        "/etc/containers/registries.conf.d/99-modelcar-shim.conf",
    ]


def test_docker_keeps_everything_else_and_asks_the_shim_first() -> None:
    existing = b'{"runtimes": {"nvidia": {"path": "nvidia-container-runtime"}}, "registry-mirrors": ["https://other"]}'
    document = json.loads(docker.daemon_json(settings_for("docker.io"), existing))
    assert document["runtimes"] == {"nvidia": {"path": "nvidia-container-runtime"}}
    assert document["registry-mirrors"] == ["http://127.0.0.1:5000", "https://other"]
    assert json.loads(docker.daemon_json(settings_for("docker.io"), None)) == {
        "registry-mirrors": ["http://127.0.0.1:5000"]
    }


def test_docker_is_named_once() -> None:
    once = docker.daemon_json(settings_for("docker.io"), None)
    assert docker.daemon_json(settings_for("docker.io"), once) == once


@pytest.mark.parametrize("existing", [b"{", b"[]", b'{"registry-mirrors": "https://other"}', b"\xff"])
def test_a_daemon_json_that_is_none_is_not_touched(existing: bytes) -> None:
    with pytest.raises(StorageError, match=r"daemon\.json"):
        docker.daemon_json(settings_for("docker.io"), existing)


def test_docker_can_mirror_nothing_but_the_hub() -> None:
    with pytest.raises(UsageError, match=r"docker\.io"):
        docker.plan(settings_for("ghcr.io"), None)
